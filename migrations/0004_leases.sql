-- One row per slot, reused for ever: the whole grant while it is held; the last claim, token and end while it is free.
-- No index but the key, and no index predicate: every grant, renewal and release stays a heap-only update.
create table signalbox.leases (
  queue text collate "C" not null,
  slot integer not null,
  state text collate "C" not null,
  claim_id text collate "C" not null,
  holder text collate "C" not null,
  fencing_token bigint not null,
  ttl_ms integer not null,
  priority integer not null,
  mode text collate "C" not null,
  seq bigint not null,
  lapsed_offers smallint not null default 0,
  offered boolean not null default false,
  release_requested boolean not null default false,
  labels jsonb not null default '{}',
  metadata jsonb not null default '{}',
  enqueued_at timestamptz not null,
  acquired_at timestamptz not null,
  renewed_at timestamptz not null,
  expires_at timestamptz not null,
  hold_until timestamptz,
  ended_at timestamptz,
  end_state text collate "C",
  end_reason text collate "C",
  outcome text collate "C",
  free_after timestamptz,
  next_free integer,
  constraint leases_pkey primary key (queue, slot),
  constraint leases_slot_positive check (slot >= 1),
  constraint leases_state_known check (state in ('held', 'free')),
  constraint leases_token_range check (fencing_token between 1 and 9007199254740991),
  constraint leases_free_has_end check ((state = 'free') = (ended_at is not null and end_state is not null and end_reason is not null)),
  constraint leases_text_length check (length(claim_id) <= 200 and length(holder) <= 200)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);
comment on column signalbox.leases.offered is 'Granted while nobody listened; a full lease once the holder is heard.';
comment on column signalbox.leases.free_after is 'Lock delay: a free slot is granted again only after this time.';

-- Finds the slot of a claim in a wide queue. Rows are only inserted and deleted.
create table signalbox.wide_slots (
  queue text collate "C" not null,
  claim_id text collate "C" not null,
  slot integer not null,
  constraint wide_slots_pkey primary key (queue, claim_id)
);
