-- Merge queues: one row for each, and one for each build in it. What may happen to them is decided by the state machine in
-- src/merge-queue/machine and written back by save_merge_queue, guarded by `version`: whoever decided on an older one
-- decides again. New tables, so no lock matters.
create table signalbox.merge_queues (
  queue text collate "C" not null,
  owner text collate "C" not null,
  repo text collate "C" not null,
  base_ref text collate "C" not null,
  stabilisation_ms bigint not null,
  ttl_ms bigint not null,
  expected_count integer not null,
  delay_count integer not null,
  hold_ttl_ms bigint,
  success_completes text collate "C" not null default 'all',
  require_token boolean not null default false,
  refused_acquire_updates boolean not null default true,
  auto_created boolean not null default true,
  settings_version bigint not null default 1,
  version bigint not null default 1,
  news bigint not null default 0,
  window_started_at timestamptz not null,
  fencing_token bigint not null default 0,
  due_at timestamptz,
  used_at timestamptz not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  constraint merge_queues_pkey primary key (queue),
  constraint merge_queues_named_after_parts check (queue = 'merge-queue/' || owner || '/' || repo || '/' || base_ref),
  constraint merge_queues_name_form check (queue ~ '^[A-Za-z0-9._:/@-]{1,200}$'),
  constraint merge_queues_owner_is_one_part check (owner <> '' and owner !~ '/'),
  constraint merge_queues_repo_is_one_part check (repo <> '' and repo !~ '/'),
  constraint merge_queues_base_ref_not_empty check (base_ref <> ''),
  constraint merge_queues_stabilisation_range check (stabilisation_ms between 0 and 604800000),
  constraint merge_queues_ttl_range check (ttl_ms between 1 and 604800000),
  constraint merge_queues_expected_count_range check (expected_count between 0 and 10000),
  constraint merge_queues_delay_count_range check (delay_count between 0 and 10000),
  constraint merge_queues_hold_ttl_range check (hold_ttl_ms between 1 and 2592000000),
  constraint merge_queues_success_completes_known check (success_completes in ('all', 'contained')),
  constraint merge_queues_token_not_negative check (fencing_token >= 0)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);
create index merge_queues_due on signalbox.merge_queues (due_at) where due_at is not null;
comment on table signalbox.merge_queues is 'Merge queues: settings and window. version: of every write; settings_version: of the settings; news: of changes that may concern who waits.';
comment on column signalbox.merge_queues.due_at is 'When the reaper has to look at it; null = not before somebody calls.';

-- hold_ttl_ms: what its client asked for, null = that of the queue. status: pending; acquired, or how that ended while newcomers are still kept out (completed, failure, cancelled,
-- expired); remembered = completed by a success and no longer registered: told so when it asks, or asks again.
create table signalbox.merge_requests (
  queue text collate "C" not null,
  head_sha text collate "C" not null,
  head_ref text collate "C" not null,
  priority bigint not null,
  status text collate "C" not null,
  request_id text collate "C",
  registered_at timestamptz,
  last_seen_at timestamptz not null,
  hold_ttl_ms bigint,
  delays_counted integer not null default 0,
  fencing_token bigint,
  acquired_at timestamptz,
  expires_at timestamptz,
  ended_at timestamptz,
  is_known boolean not null,
  constraint merge_requests_pkey primary key (queue, head_sha),
  constraint merge_requests_status_known
    check (status in ('pending', 'acquired', 'completed', 'failure', 'cancelled', 'expired', 'remembered')),
  constraint merge_requests_grant_is_whole check (
    (status in ('pending', 'remembered')) = (fencing_token is null)
    and (fencing_token is null) = (acquired_at is null) and (fencing_token is null) = (expires_at is null)),
  constraint merge_requests_end_has_time check ((ended_at is null) = (status in ('pending', 'acquired'))),
  constraint merge_requests_hold_ttl_range check (hold_ttl_ms between 1 and 2592000000),
  constraint merge_requests_priority_positive check (priority >= 1)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);
-- Whatever a program believes: never two holders.
create unique index merge_requests_one_grant on signalbox.merge_requests (queue) where status not in ('pending', 'remembered');
comment on table signalbox.merge_requests is 'The builds of merge queues: those that wait, the one with the lease, or what is left of it.';
