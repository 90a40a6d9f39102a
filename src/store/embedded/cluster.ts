import { appendFile, chown, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { type Access, userName } from './access.ts';
import type { Binaries } from './binaries.ts';
import { runCommand } from './command.ts';
import { type DataDir, dataDirAt, draftPrefix } from './data-dir.ts';
import { EmbeddedServerError } from './errors.ts';
import type { ServerOwner } from './server-owner.ts';

const settingsFile = 'signalbox.conf';

/** The major version of the cluster that lies there, null if there is none. */
export async function clusterVersion({ pgdata }: DataDir): Promise<number | null> {
  const version = await readFile(join(pgdata, 'PG_VERSION'), 'utf8').catch(() => null);
  if (version !== null) return Number(version.trim());
  const names = await readdir(pgdata).catch(() => []);
  if (names.length === 0) return null;
  throw new EmbeddedServerError('data_dir_invalid', `${pgdata} has files in it but no PG_VERSION: it is not a cluster`);
}

/** Throws `data_dir_missing` if no cluster was ever made in this data directory. Makes nothing. */
export async function requireCluster(path: string): Promise<void> {
  const dataDir = dataDirAt(resolve(path));
  if ((await clusterVersion(dataDir)) !== null) return;
  throw new EmbeddedServerError(
    'data_dir_missing',
    `there is no database in ${dataDir.path}. Run this in the folder of the replica, or set SIGNALBOX_DATA_DIR or DATABASE_URL.`,
  );
}

/**
 * Makes an empty cluster under another name and renames it when it is whole, so that a kill in the middle leaves no half
 * cluster. What earlier kills left is removed first.
 */
export async function createCluster(
  dataDir: DataDir,
  binaries: Binaries,
  owner: ServerOwner | null,
  { password }: Access,
): Promise<void> {
  await removeDrafts(dataDir);
  const draft = await mkdtemp(join(dataDir.path, draftPrefix));
  try {
    const [data, passwordFile] = [join(draft, 'data'), join(draft, 'password')];
    await writeFile(passwordFile, `${password}\n`, { mode: 0o600 });
    await mkdir(data, { mode: 0o700 });
    for (const path of [draft, passwordFile, data]) await give(path, owner);
    const { exitCode, output } = await runCommand(
      binaries.initdb,
      [
        ...['-D', data, '--username', userName, '--pwfile', passwordFile, '--auth', 'scram-sha-256'],
        ...['--encoding', 'UTF8', '--locale', 'C'],
      ],
      owner,
    );
    if (exitCode !== 0) throw new EmbeddedServerError('initdb_failed', `initdb failed: ${output}`);
    await appendFile(join(data, 'postgresql.conf'), `\ninclude_if_exists = '${settingsFile}'\n`);
    await rename(data, dataDir.pgdata);
  } finally {
    await removeDrafts(dataDir);
  }
}

/**
 * Writes the settings of the next start. A file, because words given to pg_ctl pass through a shell.
 */
export async function writeSettings(
  dataDir: DataDir,
  owner: ServerOwner | null,
  settings: Readonly<Record<string, string>>,
): Promise<void> {
  const lines = Object.entries(settings).map(([name, value]) => `${name} = '${value.replaceAll("'", "''")}'\n`);
  const path = join(dataDir.pgdata, settingsFile);
  await writeFile(path, `# Written at every start by signalbox; changes made here are lost.\n${lines.join('')}`);
  await give(path, owner);
}

/** Makes the server's user the owner; nothing to do when it is this process's user. */
export async function give(path: string, owner: ServerOwner | null): Promise<void> {
  if (owner !== null) await chown(path, owner.uid, owner.gid);
}

async function removeDrafts(dataDir: DataDir): Promise<void> {
  for (const name of await readdir(dataDir.path)) {
    if (!name.startsWith(draftPrefix)) continue;
    // An initdb whose parent was killed may still write there: it fails once its files are gone, hence the retries.
    await rm(join(dataDir.path, name), { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
  }
}
