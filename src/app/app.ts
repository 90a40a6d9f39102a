import type { ConfiguredMergeQueue } from '../config/merge-queue-file.ts';
import type { GoodQueuesFile } from '../config/queues-file-keeper.ts';
import type { Settings } from '../config/settings.ts';
import type { ReplicaId } from '../protocol/ids.ts';
import { startAll, stopAll } from '../runtime/service.ts';
import { programVersion } from '../runtime/version.ts';
import { type EmbeddedServer, openEmbeddedServer } from '../store/embedded/index.ts';
import type { Logger } from '../telemetry/log.ts';
import { prepareDatabase } from './preparation.ts';
import { assembleReplica } from './replica.ts';

export interface AppOptions {
  readonly settings: Settings;
  readonly replicaId: ReplicaId;
  readonly log: Logger;
  /** Merge queues to make or set before it serves. */
  readonly configured?: readonly ConfiguredMergeQueue[];
  /** The file of `QUEUES_FILE`: applied before it serves, and whenever it changes. */
  readonly queuesFile?: GoodQueuesFile | undefined;
  /** Aborts a start that waits for its database. */
  readonly signal?: AbortSignal;
}

/** One running replica. `stop()` finishes what is in flight, resigns and lets the database go; it may be called twice. */
export interface App extends AsyncDisposable {
  /** Where it listens, e.g. http://127.0.0.1:8080. */
  readonly url: string;
  readonly database: { readonly url: string; readonly embedded: 'no' | 'started' | 'joined' };
  stop(): Promise<void>;
}

/**
 * Puts a replica together and starts it: database (embedded unless a URL is set), schema, then the parts in order; they
 * stop in reverse. A database that cannot be reached yet is waited for. Throws `SettingsError` if other machines could
 * reach it and no token was ever made.
 */
export async function startApp(options: AppOptions): Promise<App> {
  const { settings, log } = options;
  const embedded =
    settings.databaseUrl === undefined
      ? await openEmbeddedServer({ dataDir: settings.dataDir, log: (message) => log.info(message) })
      : undefined;
  try {
    return await startReplica(options, embedded);
  } catch (error) {
    await embedded?.leave();
    throw error;
  }
}

async function startReplica(
  { settings, replicaId, log, configured = [], queuesFile, signal }: AppOptions,
  embedded: EmbeddedServer | undefined,
): Promise<App> {
  const url = embedded?.url ?? settings.databaseUrl ?? '';
  const directUrl = embedded?.url ?? settings.databaseDirectUrl ?? url;
  await prepareDatabase({ directUrl, settings, log, configured, signal });

  const replica = assembleReplica({ settings, replicaId, log, url, directUrl, queuesFile });
  await startAll(replica.parts);
  log.info(
    { url: replica.url, version: programVersion, database: embedded === undefined ? 'external' : 'embedded' },
    'ready',
  );

  let stopped: Promise<void> | undefined;
  const stop = () => (stopped ??= stopAll(replica.parts).finally(() => embedded?.leave()));
  return {
    url: replica.url,
    database: { url, embedded: embedded === undefined ? 'no' : embedded.joined ? 'joined' : 'started' },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}
