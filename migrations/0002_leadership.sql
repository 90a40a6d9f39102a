-- Who runs the reaper. One row, taken by conditional update, so that it works behind a transaction pooler.
create table signalbox.orchestrator_lock (
  id integer not null default 1,
  leader text collate "C" not null default '',
  epoch bigint not null default 0,
  acquired_at timestamptz not null,
  renewed_at timestamptz not null,
  expires_at timestamptz not null,
  constraint orchestrator_lock_pkey primary key (id),
  constraint orchestrator_lock_has_one_row check (id = 1),
  constraint orchestrator_lock_leader_length check (length(leader) <= 200),
  constraint orchestrator_lock_epoch_not_negative check (epoch >= 0)
) with (fillfactor = 50);
comment on table signalbox.orchestrator_lock is 'The one leader. leader '''' = free; epoch only grows; resigning expires the row and never deletes it.';

-- One row per term. It also lets a lost orchestrator_lock row be made again without the epoch going back.
create table signalbox.terms (
  epoch bigint not null,
  leader text collate "C" not null,
  started_at timestamptz not null,
  ended_at timestamptz,
  end_reason text,
  constraint terms_pkey primary key (epoch),
  constraint terms_end_reason_known check (end_reason in ('resigned', 'taken_over')),
  constraint terms_ended_with_reason check ((ended_at is null) = (end_reason is null))
);

-- The last round of each chore of the leader.
create table signalbox.chores (
  chore text collate "C" not null,
  epoch bigint not null,
  finished_at timestamptz not null,
  duration_ms integer not null,
  counts jsonb not null default '{}',
  last_error text,
  last_error_at timestamptz,
  constraint chores_pkey primary key (chore)
) with (fillfactor = 50);

-- Replicas say every few seconds that they are there. Nothing is decided by it; people read it.
create table signalbox.replicas (
  replica_id text collate "C" not null,
  version text not null,
  url text,
  started_at timestamptz not null,
  heard_at timestamptz not null,
  constraint replicas_pkey primary key (replica_id)
) with (fillfactor = 50);
