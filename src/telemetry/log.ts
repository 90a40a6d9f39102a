import { type Logger, pino } from 'pino';
import type { ReplicaId } from '../protocol/ids.ts';

export type { Logger } from 'pino';

/** One JSON object a line on stderr: stdout stays free for what a command prints. */
export function createLog(level: string, replicaId: ReplicaId): Logger {
  return pino(
    { level, base: { replica_id: replicaId }, timestamp: pino.stdTimeFunctions.isoTime, messageKey: 'message' },
    pino.destination({ fd: 2, sync: true }),
  );
}
