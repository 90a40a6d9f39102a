-- One row per ended grant or claim, append-only, by day. `final` says that the claim itself ended with it (a lapsed
-- offer ends a grant but not its claim). No default partition: old days go by DETACH CONCURRENTLY.
create table signalbox.history (
  queue text collate "C" not null,
  claim_id text collate "C" not null,
  holder text collate "C" not null,
  state text collate "C" not null,
  reason text collate "C" not null,
  outcome text collate "C",
  final boolean not null,
  slot integer,
  fencing_token bigint,
  priority integer not null,
  mode text collate "C" not null,
  labels jsonb not null,
  metadata jsonb not null,
  enqueued_at timestamptz not null,
  acquired_at timestamptz,
  expires_at timestamptz,
  ended_at timestamptz not null,
  actor text,
  detail text,
  constraint history_state_known
    check (state in ('released', 'cancelled', 'expired', 'broken', 'superseded', 'dead', 'waiting')),
  constraint history_grant_is_whole check ((slot is null) = (fencing_token is null))
) partition by range (ended_at);
create index history_claim on signalbox.history (queue, claim_id);

-- The feed. `xid` lets a reader stop below the oldest transaction still running, so that a late commit is never skipped.
create table signalbox.events (
  id bigint generated always as identity,
  xid xid8 not null default pg_current_xact_id(),
  at timestamptz not null,
  type text collate "C" not null,
  queue text collate "C",
  claim_id text collate "C",
  data jsonb not null default '{}'
) partition by range (at);
create index events_cursor on signalbox.events (xid, id);
