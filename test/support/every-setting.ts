import type { z } from 'zod';
import type { QueueSettings } from '../../src/protocol/queues.ts';

/** Every setting of a queue, none at its default: whatever takes settings takes these. */
export const everySetting: z.infer<typeof QueueSettings> = {
  concurrency_limit: 7,
  paused: true,
  default_ttl_ms: 2000,
  max_ttl_ms: 86_400_000,
  waiting_ttl_ms: 5000,
  max_waiting: 3,
  max_hold_ms: 90_000,
  lock_delay_ms: 10,
  claim_memory_ms: 604_800_000,
  max_runs: 5,
  max_attempts: 1000,
  max_age_ms: 31_536_000_000,
  retry_delay_ms: 86_400_000,
  retry_delay_max_ms: 31_536_000_000,
  on_failure: 'stop',
  priority_head_start_ms: 86_400_000,
  rotate_by: 'tenant',
  retry_place: 'last',
  supersede_by: 'branch',
  cancel_in_progress: true,
  on_full: 'drop_last',
  max_wait_ms: 31_536_000_000,
  reserve_max_ms: 600_000,
  on_failover: 'immediate',
  closed: true,
  cleanup: true,
};
