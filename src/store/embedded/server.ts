import { open, readFile, stat } from 'node:fs/promises';
import pg from 'pg';
import { type Access, databaseUrl, withFreePort, writeAccess } from './access.ts';
import type { Binaries } from './binaries.ts';
import { give, writeSettings } from './cluster.ts';
import { runCommand } from './command.ts';
import type { DataDir } from './data-dir.ts';
import { type Deadline, pollPause } from './deadline.ts';
import { EmbeddedServerError, errorCode } from './errors.ts';
import { disarmLockFile, findPostmaster } from './postmaster.ts';
import type { ServerOwner } from './server-owner.ts';

/** A cluster that exists, and what it takes to run it. */
export interface ServerContext {
  readonly dataDir: DataDir;
  readonly binaries: Binaries;
  readonly owner: ServerOwner | null;
  readonly settings: Readonly<Record<string, string>>;
}

export const databaseName = 'signalbox';

/** Reasons to try again that lie in a moment: a port lost to somebody, backends of a killed server still going down. */
const passing = /could not bind|Address already in use|could not create any TCP\/IP sockets|pre-existing shared memory/;

/** Joins the server that runs, or starts it; resolves when it takes connections and its database exists. */
export async function ensureRunning(
  context: ServerContext,
  access: Access,
  deadline: Deadline,
): Promise<{ access: Access; joined: boolean }> {
  for (let joined = true; ;) {
    const running = await findPostmaster(context.dataDir);
    if (running === null) {
      joined = false;
      access = await start(context, access);
    } else {
      access = { ...access, port: running.port };
      if (await ensureDatabase(access)) return { access, joined };
    }
    if (deadline.hasPassed()) {
      throw new EmbeddedServerError('start_timeout', `the server is not ready in time; see ${context.dataDir.logFile}`);
    }
    // Recovering, going down, or starting again: the next look tells.
    if (running !== null) await pollPause();
  }
}

/** Stops the server and waits for its end. Open transactions are rolled back. */
export async function stop({ dataDir, binaries, owner }: ServerContext): Promise<void> {
  if ((await findPostmaster(dataDir)) === null) return;
  const { output } = await runCommand(
    binaries.pg_ctl,
    ['stop', '-D', dataDir.pgdata, '-m', 'fast', '-w', '-t', '60'],
    owner,
  );
  if ((await findPostmaster(dataDir)) !== null) {
    throw new EmbeddedServerError('stop_failed', `the server does not stop: ${output}; see ${dataDir.logFile}`);
  }
}

/** One attempt. It may end with no server running if the reason is a passing one; the caller looks again. */
async function start(context: ServerContext, kept: Access): Promise<Access> {
  const { dataDir, binaries, owner, settings } = context;
  await disarmLockFile(dataDir);
  const access = await withFreePort(kept);
  if (access.port !== kept.port) await writeAccess(dataDir, access);
  await writeSettings(dataDir, owner, {
    ...settings,
    port: `${access.port}`,
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
  });
  // The server opens its log as its own user, in a directory where that user may not make files.
  await (await open(dataDir.logFile, 'a', 0o600)).close();
  await give(dataDir.logFile, owner);
  const { size } = await stat(dataDir.logFile);
  // pg_ctl gives the server a session of its own: neither Ctrl-C nor our end reaches it.
  const { exitCode, output } = await runCommand(
    binaries.pg_ctl,
    ['start', '-D', dataDir.pgdata, '-l', dataDir.logFile, '-w', '-t', '60'],
    owner,
  );
  if (exitCode === 0 || (await findPostmaster(dataDir)) !== null) return access;
  const said = (await readFile(dataDir.logFile)).subarray(size).toString('utf8').trim();
  if (!passing.test(said))
    throw new EmbeddedServerError('start_failed', `the server does not start: ${output}\n${said}`);
  await pollPause();
  return access;
}

/** Makes the database if it is missing. false: the server does not take connections now. */
async function ensureDatabase(access: Access): Promise<boolean> {
  const outcome = await tryConnect(databaseUrl(access, databaseName));
  if (outcome !== 'no_database') return outcome === 'connected';
  return (await tryConnect(databaseUrl(access, 'postgres'), `CREATE DATABASE ${databaseName}`)) === 'connected';
}

async function tryConnect(url: string, statement = 'SELECT 1'): Promise<'connected' | 'no_database' | 'not_ready'> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000 });
  // A connection cut between two calls must not end the process; the next call reports it.
  client.on('error', () => undefined);
  try {
    await client.connect();
    await client.query(statement);
    return 'connected';
  } catch (error) {
    const code = errorCode(error);
    if (code === '3D000') return 'no_database';
    if (code === '28P01' || code === '28000') {
      throw new EmbeddedServerError(
        'password_mismatch',
        'the server does not accept the password kept in access.json',
        {
          cause: error,
        },
      );
    }
    return 'not_ready';
  } finally {
    await client.end().catch(() => undefined);
  }
}
