/**
 * A real PostgreSQL without installing one: what runs when DATABASE_URL is not set.
 *
 * Any number of processes may open the same data directory at once. The first starts the server, the others join it, the
 * last one to leave stops it. Every decision is made under one lock per data directory, and nothing is trusted that a
 * `kill -9` may have left behind: not member files, not the server's own lock file, not a half-made cluster.
 */
import { databaseUrl, newAccess, readAccess, writeAccess } from './access.ts';
import { type Binaries, locateEmbeddedBinaries, usableBinaries } from './binaries.ts';
import { clusterVersion, createCluster, requireCluster } from './cluster.ts';
import { checkReachable, prepareDataDir } from './data-dir.ts';
import { withDataDirLock } from './data-dir-lock.ts';
import { deadlineIn } from './deadline.ts';
import { EmbeddedServerError } from './errors.ts';
import { addMember, countMembers, removeMember } from './members.ts';
import { databaseName, ensureRunning, type ServerContext, stop } from './server.ts';
import { findServerOwner } from './server-owner.ts';

export { EmbeddedServerError, type EmbeddedServerErrorCode } from './errors.ts';

export interface EmbeddedServer {
  /** For the superuser and database `signalbox`, on 127.0.0.1. It holds the password. */
  readonly url: string;
  /** The server was running already: another process uses it, or one that was killed left it. */
  readonly joined: boolean;
  /** Stops the server if no other process uses it. A second call gives the first one's answer. */
  leave(): Promise<'stopped' | 'left_running'>;
}

export interface EmbeddedServerOptions {
  /** Made if it does not exist, unless `onlyExisting`. */
  readonly dataDir: string;
  /** Throws `data_dir_missing` where there is no server yet, and makes nothing. */
  readonly onlyExisting?: boolean;
  readonly log: (message: string) => void;
  /** Lines of postgresql.conf. They count when this call starts the server, not when it joins. */
  readonly postgresSettings?: Readonly<Record<string, string>>;
}

/** For the lock and the start together: recovery after a crash is the one thing that may take most of it. */
const openTimeoutMs = 60_000;

/** Resolves when the server takes connections. Whoever opens it must leave it. Throws `EmbeddedServerError`. */
export async function openEmbeddedServer(options: EmbeddedServerOptions): Promise<EmbeddedServer> {
  return openServer(await locateEmbeddedBinaries(), options);
}

/** The same with programs from elsewhere; the tests run PostgreSQL of the system's package this way. */
export async function openServer(programs: Binaries, options: EmbeddedServerOptions): Promise<EmbeddedServer> {
  if (options.onlyExisting === true) await requireCluster(options.dataDir);
  const dataDir = await prepareDataDir(options.dataDir);
  const deadline = deadlineIn(openTimeoutMs);
  return withDataDirLock(dataDir, deadline, async () => {
    const owner = await findServerOwner();
    await checkReachable(dataDir, owner);
    const { binaries, majorVersion } = await usableBinaries(programs, owner);
    const context: ServerContext = { dataDir, binaries, owner, settings: options.postgresSettings ?? {} };
    const kept = (await readAccess(dataDir)) ?? (await newAccess());
    const version = await clusterVersion(dataDir);
    if (version === null) {
      options.log(`making a PostgreSQL ${majorVersion} cluster in ${dataDir.pgdata}`);
      // First the password, then the cluster that asks for it: a kill in between loses nothing.
      await writeAccess(dataDir, kept);
      await createCluster(dataDir, binaries, owner, kept);
    } else if (version !== majorVersion) {
      throw new EmbeddedServerError(
        'data_dir_version',
        `${dataDir.pgdata} was made by PostgreSQL ${version}, this program brings ${majorVersion}. ` +
          'Dump it with the old version, or set SIGNALBOX_DATA_DIR to another directory.',
      );
    }
    const { access, joined } = await ensureRunning(context, kept, deadline);
    const member = await addMember(dataDir);
    options.log(`${joined ? 'joined' : 'started'} PostgreSQL ${majorVersion} on 127.0.0.1:${access.port}`);
    let left: Promise<'stopped' | 'left_running'> | undefined;
    return {
      url: databaseUrl(access, databaseName),
      joined,
      leave: () => (left ??= leave(context, member, options.log)),
    };
  });
}

async function leave(
  context: ServerContext,
  member: string,
  log: (message: string) => void,
): Promise<'stopped' | 'left_running'> {
  const { dataDir } = context;
  return withDataDirLock(dataDir, deadlineIn(openTimeoutMs), async () => {
    await removeMember(dataDir, member);
    if ((await countMembers(dataDir)) > 0) return 'left_running';
    await stop(context);
    log(`stopped PostgreSQL in ${dataDir.path}`);
    return 'stopped';
  });
}
