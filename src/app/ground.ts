import type { Settings } from '../config/settings.ts';
import type { ReplicaId } from '../protocol/ids.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Database } from '../store/database.ts';
import type { Metrics } from '../telemetry/metrics.ts';

/** What every part of a replica is made from. */
export interface Ground {
  readonly settings: Settings;
  readonly replicaId: ReplicaId;
  readonly db: Database;
  /** The server itself, never a pooler. */
  readonly directUrl: string;
  readonly clock: Clock;
  readonly metrics: Metrics;
  /** Where a background task of this part says that it failed; it goes on. */
  readonly report: (part: string) => (error: unknown) => void;
}
