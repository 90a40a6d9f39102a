import { type DestinationStream, type Logger, pino } from 'pino';
import { withoutSecrets } from '../protocol/access.ts';
import type { ReplicaId } from '../protocol/ids.ts';

export type { Logger } from 'pino';

/** Fields that hold credentials wherever they are met. None is logged on purpose; this is the fence behind that. */
const secretFields = ['authorization', 'cookie', 'secret', 'token', 'password'];

/**
 * One JSON object a line on stderr: stdout stays free for what a command prints. A token of ours that gets into a line,
 * in whatever field or message, is taken out of the finished line.
 */
export function createLog(
  level: string,
  replicaId: ReplicaId,
  destination: DestinationStream = pino.destination({ fd: 2, sync: true }),
): Logger {
  return pino(
    {
      level,
      base: { replica_id: replicaId },
      timestamp: pino.stdTimeFunctions.isoTime,
      messageKey: 'message',
      redact: {
        paths: secretFields.flatMap((field) => [field, `*.${field}`, `*.*.${field}`]),
        censor: '[redacted]',
      },
      hooks: { streamWrite: withoutSecrets },
    },
    destination,
  );
}
