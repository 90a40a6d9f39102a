-- The order of a line becomes a key of its own, fixed when a claim joins it: (place, seq, rank), smaller goes first. place
-- says when its turn is (see signalbox.place_of), seq is the order of arrival, rank the order within a batch. So priority,
-- head starts, rotation and batches are all one index, and nothing is rewritten as claims age.
-- Columns are added with constant defaults; of rows that are there only those with a priority are written.
alter table signalbox.queues
  add column priority_head_start_ms bigint,
  add column rotate_by text collate "C",
  add column retry_place text collate "C" not null default 'kept',
  add column supersede_by text collate "C",
  add column cancel_in_progress boolean not null default false,
  add column on_full text collate "C" not null default 'refuse',
  add column max_wait_ms bigint,
  add column reserve_max_ms integer not null default 10000,
  add column on_failover text collate "C" not null default 'quarantine',
  add constraint queues_head_start_range check (priority_head_start_ms between 1 and 86400000) not valid,
  add constraint queues_rotate_by_length check (length(rotate_by) between 1 and 63) not valid,
  add constraint queues_retry_place_known check (retry_place in ('kept', 'last')) not valid,
  add constraint queues_supersede_by_length check (length(supersede_by) between 1 and 63) not valid,
  add constraint queues_on_full_known check (on_full in ('refuse', 'drop_oldest', 'drop_last')) not valid,
  add constraint queues_max_wait_range check (max_wait_ms between 1000 and 31536000000) not valid,
  add constraint queues_reserve_max_range check (reserve_max_ms between 0 and 600000) not valid,
  add constraint queues_on_failover_known check (on_failover in ('quarantine', 'immediate')) not valid;

-- order_base: what places of the present order setting begin at; a changed setting raises it, so that those who stood in
-- line before stay before (see signalbox.place_of). claim_round, run_round: how far the rotation has come.
-- several: claims in line that ask for more than one place, of this queue or of others as well.
alter table signalbox.lines
  add column closed boolean not null default false,
  add column cleanup boolean not null default false,
  add column rotates boolean not null default false,
  add column order_base bigint not null default 0,
  add column claim_round bigint not null default 0,
  add column run_round bigint not null default 0,
  add column several integer not null default 0,
  add constraint lines_several_not_negative check (several >= 0) not valid;

-- weight: how many places it takes. asked: for how many it asked, where the limit gave it fewer. joint: the queues of a claim
-- that holds places in several. wait_until: it ends when it still waits then.
alter table signalbox.leases
  add column place bigint not null default 0,
  add column rank bigint not null default 0,
  add column weight integer not null default 1,
  add column asked integer,
  add column joint jsonb,
  add column wait_until timestamptz,
  drop constraint leases_kind_known,
  add constraint leases_kind_known check (kind in ('claim', 'run', 'cleaning')) not valid,
  add constraint leases_weight_positive check (weight >= 1) not valid;

alter table signalbox.waiting
  add column place bigint not null default 0,
  add column rank bigint not null default 0,
  add column weight integer not null default 1,
  add column joint jsonb,
  add column wait_until timestamptz;
alter table signalbox.delayed
  add column place bigint not null default 0,
  add column rank bigint not null default 0,
  add column weight integer not null default 1,
  add column joint jsonb,
  add column wait_until timestamptz;
alter table signalbox.dead_letters
  add column place bigint not null default 0,
  add column rank bigint not null default 0;
alter table signalbox.inbox
  add column batch text collate "C",
  add column batch_rank integer;

update signalbox.waiting set place = -priority where priority <> 0;
update signalbox.delayed set place = -priority where priority <> 0;
update signalbox.dead_letters set place = -priority where priority <> 0;
update signalbox.leases set place = -priority where priority <> 0;

drop index signalbox.waiting_line;
-- Always true, and named by whoever reads a line in its order (kind = 'claim' says as much): a lookup by claim_id, planned while
-- the table was empty and all indexes cost the same, cannot be given this index and read a long line whole later.
create index waiting_line on signalbox.waiting (queue, kind, place, seq, rank) where kind <> '';
-- By an expression, so that whoever looks for these cannot be given the index of the line, which a plan made on an empty
-- table might take, and read a long line whole later.
drop index signalbox.waiting_latest_only;
create index waiting_latest_only on signalbox.waiting ((queue || '')) where mode = 'latest_only';
create index waiting_wait_until on signalbox.waiting (wait_until) where wait_until is not null;
create index delayed_wait_until on signalbox.delayed (wait_until) where wait_until is not null;
drop index signalbox.delayed_blocks;
create index delayed_blocks on signalbox.delayed (queue, place, seq, rank) where blocks;
drop index signalbox.dead_letters_blocks;
create index dead_letters_blocks on signalbox.dead_letters (queue, place, seq, rank) where blocks;

-- Which turn the next claim of a value of the label gets, in queues that rotate. A row that the rotation has passed says
-- nothing any more (checked_at: when that was last looked for). returned: turns of claims that left the line unserved.
create table signalbox.turns (
  queue text collate "C" not null,
  kind text collate "C" not null,
  value text collate "C" not null,
  next_turn bigint not null,
  returned int8multirange not null default '{}',
  checked_at timestamptz not null,
  constraint turns_pkey primary key (queue, kind, value)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);

create index turns_checks on signalbox.turns (checked_at);

-- Where the first claim of a batch stands: its other claims stand there too, behind it, whenever they come.
create table signalbox.batches (
  queue text collate "C" not null,
  kind text collate "C" not null,
  batch text collate "C" not null,
  place bigint not null,
  seq bigint not null,
  size bigint not null,
  begun_at timestamptz not null,
  constraint batches_pkey primary key (queue, kind, batch)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);
create index batches_age on signalbox.batches (begun_at);

alter type signalbox.operation
  add attribute batch text collate "C",
  add attribute batch_rank integer,
  add attribute weight integer,
  add attribute also jsonb,
  add attribute max_wait_ms bigint;
