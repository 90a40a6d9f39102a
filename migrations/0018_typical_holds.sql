-- How long a slot is usually taken, as a moving average of its last few grants, written with the end of each: what estimates of
-- waiting times are made of. null = it has not ended one yet.
alter table signalbox.leases add column typical_hold_ms bigint;
