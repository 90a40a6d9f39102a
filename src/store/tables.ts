/** The documented views and the tables that plain reads use, typed for Kysely. int8 comes as string from pg. */
export interface Tables {
  'signalbox_v1.queues': {
    queue: string;
    concurrency_limit: number | null;
    paused: boolean;
    held: string;
    expired_not_reaped: string;
    waiting: number;
    draining: string | null;
    oldest_wait_ms: string | null;
    default_ttl_ms: number;
    max_ttl_ms: number;
    waiting_ttl_ms: number;
    max_waiting: number | null;
    max_hold_ms: string | null;
    lock_delay_ms: number;
    claim_memory_ms: number;
    version: string;
    auto_created: boolean;
    created_at: Date;
    updated_at: Date;
    max_runs: number | null;
    max_attempts: number;
    max_age_ms: string | null;
    retry_delay_ms: number;
    retry_delay_max_ms: string;
    on_failure: 'wait' | 'step_around' | 'stop' | null;
    runs: number;
    delayed: number;
    blocked: boolean;
    dead_letters: number;
  };
  'signalbox_v1.leases': {
    queue: string;
    slot: number;
    claim_id: string;
    holder: string;
    fencing_token: string;
    ttl_remaining_ms: string;
    expired_not_reaped: boolean;
    offered: boolean;
    release_requested: boolean;
    acquired_at: Date;
    expires_at: Date;
  };
  'signalbox_v1.line': {
    queue: string;
    position: string;
    claim_id: string;
    holder: string;
    priority: number;
    waiting_for: string;
    enqueued_at: Date;
  };
  'signalbox_v1.leader': {
    leader: string | null;
    epoch: string;
    leads: boolean;
    acquired_at: Date;
    renewed_at: Date;
    expires_at: Date;
    ttl_remaining_ms: string;
    last_sweep_at: Date | null;
  };
  'signalbox.leases': {
    queue: string;
    slot: number;
    state: 'held' | 'free';
    fencing_token: string;
    expires_at: Date;
  };
  'signalbox.lines': { queue: string };
  'signalbox.terms': {
    epoch: string;
    leader: string;
    started_at: Date;
    ended_at: Date | null;
    end_reason: string | null;
  };
  'signalbox.chores': {
    chore: string;
    epoch: string;
    finished_at: Date;
    duration_ms: number;
    counts: Record<string, number>;
    last_error: string | null;
    last_error_at: Date | null;
  };
  'signalbox.replicas': {
    replica_id: string;
    version: string;
    url: string | null;
    started_at: Date;
    heard_at: Date;
  };
}
