-- Claims on several queues. One stands in the line of each of its queues, under one id, and holds a place in each once it is
-- granted: column joint of waiting and leases is {"primary", "queues": [{"queue", "weight"}], and of a lease "places":
-- [{"queue", "slot", "fencing_token", "weight"}]}. The primary's row is the claim; the others are its tickets and places.
alter table signalbox.history add column joint jsonb;

-- What is over with such a claim in a line that somebody else had locked when it ended: whoever has the line next puts it
-- right. fencing_token 0: its row in line, else the place with this token; state as of end_lease, `waiting` = the place goes
-- back to being a ticket.
create table signalbox.loose_ends (
  queue text collate "C" not null,
  claim_id text collate "C" not null,
  fencing_token bigint not null,
  slot integer,
  state text collate "C" not null,
  reason text collate "C" not null,
  outcome text collate "C",
  actor text,
  detail text,
  error text,
  constraint loose_ends_pkey primary key (queue, claim_id, fencing_token)
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);
