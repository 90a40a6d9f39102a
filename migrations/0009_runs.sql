-- Runs: claims with a payload that a worker takes. A run stands in `waiting` (kind 'run'), or in `delayed` until its
-- time, or is a lease; what it carries is written once, in `runs`, and goes when it ends. Columns are added with
-- constant defaults and constraints without a look at the rows that are there (they have the defaults): nothing is
-- rewritten or read, and locks are held for a moment only.
alter table signalbox.queues
  add column max_runs integer default 10000000,
  add column max_attempts integer not null default 5,
  add column max_age_ms bigint,
  add column retry_delay_ms integer not null default 1000,
  add column retry_delay_max_ms bigint not null default 300000,
  add column on_failure text collate "C",
  add constraint queues_max_runs_range check (max_runs between 0 and 10000000) not valid,
  add constraint queues_max_attempts_range check (max_attempts between 1 and 1000) not valid,
  add constraint queues_max_age_range check (max_age_ms between 1000 and 31536000000) not valid,
  add constraint queues_retry_delay_range check (retry_delay_ms between 0 and 86400000) not valid,
  add constraint queues_retry_delay_max_range check (retry_delay_max_ms between 0 and 31536000000) not valid,
  add constraint queues_on_failure_known check (on_failure in ('wait', 'step_around', 'stop')) not valid;

-- `waiting` counts claims in line, `runs` runs in line, `delayed` both kinds. `next_due_at` is never later than the
-- earliest row of `delayed`: a decision looks there only when it has passed. `blockers`: rows of delayed and
-- dead_letters that keep those behind them waiting. `dead`: dead letters.
alter table signalbox.lines
  add column runs integer not null default 0,
  add column delayed integer not null default 0,
  add column blockers integer not null default 0,
  add column dead integer not null default 0,
  add column next_due_at timestamptz,
  add constraint lines_runs_not_negative check (runs >= 0) not valid,
  add constraint lines_delayed_not_negative check (delayed >= 0) not valid,
  add constraint lines_blockers_not_negative check (blockers >= 0) not valid,
  add constraint lines_dead_not_negative check (dead >= 0) not valid;

alter table signalbox.leases
  add column kind text collate "C" not null default 'claim',
  add column attempt integer not null default 1,
  add constraint leases_kind_known check (kind in ('claim', 'run')) not valid;

alter table signalbox.waiting add column attempts integer not null default 0;

alter table signalbox.history
  add column kind text collate "C" not null default 'claim',
  add column attempt integer,
  add column error text;

-- What a run carries, from its enqueue to its end. Type json: it keeps the text as it came. attempts_before: those made
-- before it was last redriven; what it was enqueued with is max_attempts less these.
create table signalbox.runs (
  queue text collate "C" not null,
  claim_id text collate "C" not null,
  payload json,
  max_attempts integer not null,
  attempts_before integer not null default 0,
  max_age_ms bigint,
  dead_after timestamptz,
  constraint runs_pkey primary key (queue, claim_id)
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);
create index runs_dead_after on signalbox.runs (dead_after) where dead_after is not null;

-- Claims and runs that are not in line before their time. The columns of `waiting`, in its order, and two more.
-- blocks: those behind it wait for it. Rows are inserted and deleted; only an operator changes one.
create table signalbox.delayed (
  queue text collate "C" not null,
  claim_id text collate "C" not null,
  kind text collate "C" not null,
  seq bigint not null,
  priority integer not null,
  mode text collate "C" not null,
  holder text collate "C" not null,
  ttl_ms integer not null,
  lapsed_offers smallint not null,
  labels jsonb not null,
  metadata jsonb not null,
  enqueued_at timestamptz not null,
  attempts integer not null,
  due_at timestamptz not null,
  blocks boolean not null,
  constraint delayed_kind_known check (kind in ('claim', 'run'))
) with (vacuum_truncate = off, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);
create unique index delayed_claim on signalbox.delayed (claim_id, queue);
-- Predicates that are always true, and named by just the queries that are meant: a lookup by id cannot take one of these
-- indexes. Planned on a table that is empty and vacuumed, it would cost the same either way, and read a queue whole later.
create index delayed_line on signalbox.delayed (queue, due_at) where kind <> '';
create index delayed_due on signalbox.delayed (due_at) where mode <> '';
create index delayed_blocks on signalbox.delayed (queue, priority desc, seq) where blocks;

-- Runs enqueued in a user's own transaction, until somebody moves them into their line. No unique index: a second
-- enqueue of an id would wait for the first one's commit; duplicates are found when they are moved.
create table signalbox.inbox (
  id bigint generated always as identity,
  queue text collate "C" not null,
  claim_id text collate "C" not null,
  payload json,
  priority integer not null,
  labels jsonb not null,
  delay_ms bigint not null,
  max_attempts integer,
  max_age_ms bigint,
  enqueued_at timestamptz not null
) with (vacuum_truncate = off, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);
create index inbox_line on signalbox.inbox (queue, id);
create index inbox_claim on signalbox.inbox (claim_id, queue, id);

-- Runs that are over and kept for an operator, payload and all. Its key leads with the claim, and no other index has it: a
-- plan made on an empty table would look a claim up among all dead letters of its queue.
create table signalbox.dead_letters (
  queue text collate "C" not null,
  claim_id text collate "C" not null,
  reason text collate "C" not null,
  outcome text collate "C",
  error text,
  holder text collate "C" not null,
  attempts integer not null,
  max_attempts integer not null,
  attempts_before integer not null default 0,
  max_age_ms bigint,
  priority integer not null,
  seq bigint not null,
  labels jsonb not null,
  metadata jsonb not null,
  payload json,
  enqueued_at timestamptz not null,
  died_at timestamptz not null,
  blocks boolean not null,
  constraint dead_letters_pkey primary key (claim_id, queue),
  constraint dead_letters_reason_known check (reason in ('max_attempts', 'max_age', 'failure', 'skipped'))
) with (vacuum_truncate = off, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);
create index dead_letters_order on signalbox.dead_letters (queue, died_at) where reason <> '';
create index dead_letters_age on signalbox.dead_letters (died_at) where not blocks;
create index dead_letters_blocks on signalbox.dead_letters (queue, priority desc, seq) where blocks;

-- Queues with runs that may be taken, the one that has waited longest first. A row is a hint: it may be there for a
-- queue that has nothing to give now (whoever takes removes it), but is never missing for one that has for longer than a
-- round of the leader. Lines are locked before it, except that a take locks rows here first and then skips locked lines.
create table signalbox.ready_queues (
  queue text collate "C" not null,
  ready_at timestamptz not null,
  constraint ready_queues_pkey primary key (queue)
) with (fillfactor = 50, vacuum_truncate = off, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);
create index ready_queues_order on signalbox.ready_queues (ready_at, queue);

-- Which leases a holder has taken, so that a worker renews all it holds with one call.
create table signalbox.taken (
  holder text collate "C" not null,
  queue text collate "C" not null,
  slot integer not null,
  claim_id text collate "C" not null,
  fencing_token bigint not null,
  constraint taken_pkey primary key (holder, queue, slot)
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);

-- What a take with a request_id gave, so that asking again gives the same. closed: somebody asked again; the first call,
-- should it still be at work, adds nothing more. source: '=' and the queue or '^' and the prefix that was asked for; the
-- same id for another one is another request, and refused.
create table signalbox.takes (
  holder text collate "C" not null,
  request_id text collate "C" not null,
  source text collate "C" not null,
  taken_at timestamptz not null,
  closed boolean not null default false,
  claims jsonb not null default '[]',
  constraint takes_pkey primary key (holder, request_id)
) with (fillfactor = 70);
create index takes_age on signalbox.takes (taken_at);

-- Pages of their own from the start, see 0005_waiting.sql.
insert into signalbox.delayed (queue, claim_id, kind, seq, priority, mode, holder, ttl_ms, lapsed_offers, labels,
    metadata, enqueued_at, attempts, due_at, blocks)
select '', 'seed' || n, 'run', n, 0, 'wait', repeat('-', 200), 1000, 0, '{}', '{}', clock_timestamp(), 0,
  clock_timestamp(), false from generate_series(1, 1000) n;
insert into signalbox.inbox (queue, claim_id, priority, labels, delay_ms, enqueued_at)
select '', repeat('-', 190) || n, 0, '{}', 0, clock_timestamp() from generate_series(1, 1000) n;
insert into signalbox.ready_queues (queue, ready_at)
select repeat('-', 190) || n, clock_timestamp() from generate_series(1, 1000) n;
insert into signalbox.dead_letters (queue, claim_id, reason, holder, attempts, max_attempts, priority, seq, labels,
    metadata, enqueued_at, died_at, blocks)
select '', 'seed' || n, 'failure', repeat('-', 200), 1, 1, 0, n, '{}', '{}', clock_timestamp(), clock_timestamp(), false
from generate_series(1, 1000) n;
delete from signalbox.delayed;
delete from signalbox.inbox;
delete from signalbox.ready_queues;
delete from signalbox.dead_letters;
