-- Settings are cold and wide, the line is hot and narrow: apart, a grant never rewrites policies.
create table signalbox.queues (
  queue text collate "C" not null,
  version bigint not null default 1,
  auto_created boolean not null default false,
  default_ttl_ms integer not null default 30000,
  max_ttl_ms integer not null default 300000,
  waiting_ttl_ms integer not null default 60000,
  max_waiting integer default 100000,
  max_hold_ms bigint,
  lock_delay_ms integer not null default 0,
  claim_memory_ms integer not null default 86400000,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  constraint queues_pkey primary key (queue),
  constraint queues_name_form check (queue ~ '^[A-Za-z0-9._:/@-]{1,200}$' and queue !~ '^[.]+$'),
  constraint queues_default_ttl_range check (default_ttl_ms between 1000 and 86400000),
  constraint queues_max_ttl_range check (max_ttl_ms between 1000 and 86400000),
  constraint queues_default_ttl_within_max check (default_ttl_ms <= max_ttl_ms),
  constraint queues_waiting_ttl_range check (waiting_ttl_ms between 1000 and 86400000),
  constraint queues_max_waiting_range check (max_waiting between 0 and 10000000),
  constraint queues_max_hold_range check (max_hold_ms between 1000 and 2592000000),
  constraint queues_lock_delay_range check (lock_delay_ms between 0 and 600000),
  constraint queues_claim_memory_range check (claim_memory_ms between 1000 and 604800000)
);

-- The row whose lock serialises every decision about its queue. While nobody waits it is only locked, not changed.
-- The last four columns are kept only for `wide` queues (limit above 256, or none): there slots are too many to be
-- looked through at each grant, so the free ones form a list through leases.next_free.
create table signalbox.lines (
  queue text collate "C" not null,
  concurrency_limit integer default 1,
  paused boolean not null default false,
  waiting integer not null default 0,
  next_seq bigint not null default 1,
  wide boolean not null default false,
  held integer not null default 0,
  newest_token bigint not null default 0,
  top_slot integer not null default 0,
  free_head integer,
  constraint lines_pkey primary key (queue),
  constraint lines_limit_range check (concurrency_limit between 0 and 1000000),
  constraint lines_waiting_not_negative check (waiting >= 0),
  constraint lines_held_not_negative check (held >= 0),
  constraint lines_large_limit_is_wide check (wide or concurrency_limit <= 256)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);
comment on table signalbox.lines is 'Lock order: orchestrator_lock, then lines by name, then leases by (queue, slot), then waiting.';
