-- What a queue is set to that nobody configured and no pattern meets. Its keys are the names of all settings.
create or replace function signalbox.default_settings() returns jsonb
language sql immutable
as $$
  select '{"concurrency_limit": 1, "paused": false, "default_ttl_ms": 30000, "max_ttl_ms": 300000,
    "waiting_ttl_ms": 60000, "max_waiting": 100000, "max_hold_ms": null, "lock_delay_ms": 0, "claim_memory_ms": 86400000,
    "max_runs": 10000000, "max_attempts": 5, "max_age_ms": null, "retry_delay_ms": 1000, "retry_delay_max_ms": 300000,
    "on_failure": null, "priority_head_start_ms": null, "rotate_by": null, "retry_place": "kept", "supersede_by": null,
    "cancel_in_progress": false, "on_full": "refuse", "max_wait_ms": null, "reserve_max_ms": 10000,
    "on_failover": "quarantine", "closed": false, "cleanup": false}'::jsonb
$$;
