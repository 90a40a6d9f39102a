import { type AcquiredLease, watchForHandOver } from '../../client/index.ts';
import type { Environment } from '../program.ts';
import { runHeldCommand } from '../run/held-command.ts';
import { TermClient } from './term-client.ts';
import type { TermSignals } from './term-signals.ts';

export interface LedCommandOptions {
  readonly service: { readonly url: string; readonly token: string | undefined };
  readonly acquired: AcquiredLease;
  readonly command: readonly string[];
  readonly environment: Environment;
  readonly graceMs: number;
  readonly signals: TermSignals;
  readonly say: (line: string) => void;
  readonly warn: (line: string) => void;
}

/** How often a leader looks whether it is asked to hand over (ms): renewals tell it only after a third of the ttl. */
const lookEveryMs = 500;

/** Runs the command for one term, as `signalbox run` does, and ends it also when somebody of higher priority asks. */
export async function runLedCommand(options: LedCommandOptions): Promise<number> {
  const { service, acquired, command, environment, graceMs, signals, say, warn } = options;
  const { lease } = acquired;
  const onRequested = () => {
    if (!signals.isHandedOver) say('asked to hand over: TERM to the command');
    signals.handOver();
  };
  const client = new TermClient(service, onRequested);
  const ended = new AbortController();
  const watch = watchForHandOver(client, lease, { everyMs: lookEveryMs, signal: ended.signal, onRequested });
  try {
    return await runHeldCommand({
      client,
      acquired,
      command,
      env: {
        ...environment,
        SIGNALBOX_URL: service.url,
        SIGNALBOX_ELECTION: lease.queue,
        SIGNALBOX_TERM: `${lease.fencing_token}`,
        SIGNALBOX_QUEUE: lease.queue,
        SIGNALBOX_CLAIM_ID: lease.claim_id,
        SIGNALBOX_FENCING_TOKEN: `${lease.fencing_token}`,
        SIGNALBOX_SLOT: `${lease.slot}`,
        SIGNALBOX_HOLDER: lease.holder,
      },
      graceMs,
      signals,
      say: (line) => {
        if (!signals.isPassing) say(line);
      },
      warn,
    });
  } finally {
    ended.abort();
    await watch;
  }
}
