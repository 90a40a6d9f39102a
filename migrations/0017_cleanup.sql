-- A slot of a queue with clean-up is dirty once its holder is gone: a free row with free_after = 'infinity', so every count
-- takes it for taken, until a cleaner has held it (kind 'cleaning') and released it.
-- previous: of a lease of kind 'cleaning' and of a slot that such a one left dirty: the grant that was there before.
-- rests_until: of a dirty slot: its lock delay; no cleaner gets it before.
alter table signalbox.leases
  add column previous jsonb,
  add column rests_until timestamptz;
comment on column signalbox.leases.free_after is
  'Lock delay: a free slot is granted again only after this time. infinity: it is dirty.';

-- dirty: slots that wait for a cleaner; those that one is at work on are leases.
alter table signalbox.lines
  add column dirty integer not null default 0,
  add constraint lines_dirty_not_negative check (dirty >= 0) not valid;

-- What is dirty is summed up at every scrape: of these queues alone. Only a change of settings changes what it is on, so grants
-- and renewals stay HOT. Built in one go: lines has one narrow row a queue.
create index lines_with_cleanup on signalbox.lines (queue) where cleanup;
