import { type App, startApp } from '../app/app.ts';
import { readMergeQueueFile } from '../config/merge-queue-file.ts';
import { readQueuesFile } from '../config/queues-file-keeper.ts';
import { readSettings } from '../config/settings.ts';
import type { ReplicaId } from '../protocol/ids.ts';
import { processIdentity } from '../runtime/ids.ts';
import { failureKind } from '../store/failures.ts';
import { createLog } from '../telemetry/log.ts';
import { exitCode } from './exit-codes.ts';
import type { Environment } from './program.ts';

/**
 * Runs a replica until SIGTERM or SIGINT: then no new work, what is in flight is finished, the leadership is given up,
 * exit 0. A second signal ends the process at once.
 */
export async function serveCommand(environment: Environment): Promise<number> {
  const settings = readSettings(environment);
  const { configFile, defaults } = settings.mergeQueue;
  const configured = configFile === undefined ? [] : readMergeQueueFile(configFile, { environment, defaults });
  const queuesFile =
    settings.queuesFile === undefined ? undefined : await readQueuesFile(settings.queuesFile, environment);
  const replicaId = processIdentity() as ReplicaId;
  const log = createLog(settings.logLevel, replicaId);
  const stopping = new AbortController();
  let stop: (signal: string) => void = () => undefined;
  const signalled = new Promise<string>((resolve) => {
    stop = resolve;
  });
  const onSignal = (signal: NodeJS.Signals) => {
    if (stopping.signal.aborted) process.exit(exitCode.failed);
    stopping.abort();
    stop(signal);
  };
  process.on('SIGTERM', onSignal).on('SIGINT', onSignal);
  let app: App | undefined;
  try {
    app = await startApp({ settings, replicaId, log, configured, queuesFile, signal: stopping.signal });
    console.log(`Signalbox listens on ${app.url}`);
    if (app.database.embedded !== 'no') {
      console.log(`Embedded PostgreSQL ${app.database.embedded}; psql "${app.database.url}"`);
    }
    log.info({ signal: await signalled }, 'stopping');
    await app.stop();
    log.info('stopped');
    return exitCode.ok;
  } catch (error) {
    // Told to stop while it waited for its database: nothing was running, so nothing failed.
    const isGivenUp = error instanceof Error && (error.name === 'AbortError' || failureKind(error) === 'unavailable');
    if (stopping.signal.aborted && app === undefined && isGivenUp) return exitCode.ok;
    log.error({ err: error }, app === undefined ? 'could not start' : 'could not stop in order');
    throw error;
  } finally {
    process.off('SIGTERM', onSignal).off('SIGINT', onSignal);
  }
}
