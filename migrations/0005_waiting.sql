-- Only claims that wait. Nothing ever updates a row: it is inserted, and deleted when granted or ended.
-- Only the line index leads with `queue`, so that a cached generic plan cannot pick a wrong one whatever the table's
-- size was when it was planned.
create table signalbox.waiting (
  queue text collate "C" not null,
  claim_id text collate "C" not null,
  kind text collate "C" not null default 'claim',
  seq bigint not null,
  priority integer not null,
  mode text collate "C" not null,
  holder text collate "C" not null,
  ttl_ms integer not null,
  lapsed_offers smallint not null default 0,
  labels jsonb not null default '{}',
  metadata jsonb not null default '{}',
  enqueued_at timestamptz not null,
  constraint waiting_kind_known check (kind in ('claim', 'run')),
  constraint waiting_mode_known check (mode in ('wait', 'latest_only'))
) with (vacuum_truncate = off, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);
create index waiting_line on signalbox.waiting (queue, kind, priority desc, seq);
create unique index waiting_claim on signalbox.waiting (claim_id, queue);
create index waiting_latest_only on signalbox.waiting (queue) where mode = 'latest_only';

-- When the client of a waiting claim was last heard, and until when it listens. Updated often, so apart from `waiting`.
create table signalbox.heard (
  queue text collate "C" not null,
  claim_id text collate "C" not null,
  heard_at timestamptz not null,
  listens_until timestamptz not null,
  constraint heard_pkey primary key (queue, claim_id)
) with (fillfactor = 50, vacuum_truncate = off, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);

-- Seed some pages (kept: vacuum_truncate is off). A plan made for an empty table of no pages would be a sequential
-- scan, and it stays cached when 100,000 waiters arrive.
insert into signalbox.waiting (queue, claim_id, seq, priority, mode, holder, ttl_ms, enqueued_at)
select '', 'seed' || n, n, 0, 'wait', repeat('-', 200), 1000, clock_timestamp() from generate_series(1, 1000) n;
insert into signalbox.heard (queue, claim_id, heard_at, listens_until)
select '', repeat('-', 150) || n, clock_timestamp(), clock_timestamp() from generate_series(1, 1000) n;
delete from signalbox.waiting;
delete from signalbox.heard;
