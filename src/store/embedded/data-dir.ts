import { chmod, mkdir, readdir, realpath, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { runCommand } from './command.ts';
import { EmbeddedServerError } from './errors.ts';
import type { ServerOwner } from './server-owner.ts';

/** Everything the embedded server keeps, in one directory. */
export interface DataDir {
  readonly path: string;
  readonly pgdata: string;
  /** What the server prints. */
  readonly logFile: string;
  /** Port and password, for this process only (mode 0600). */
  readonly accessFile: string;
  readonly lockFile: string;
  readonly membersDir: string;
}

/** Half-made clusters are called `<draftPrefix><random>`; whatever bears such a name may be removed under the lock. */
export const draftPrefix = 'postgres.new-';

const ourNames = /^(postgres|postgres\.log|postgres\.new-.*|access\.json.*|lock|members)$/;

/** Makes the directory if there is none. Links in its path are resolved, so that all processes agree on its name. */
export async function prepareDataDir(path: string): Promise<DataDir> {
  const wanted = resolve(path);
  const isRoot = process.getuid?.() === 0;
  const firstMade = await makeDirectories(wanted, isRoot ? 0o755 : 0o700);
  if (isRoot) {
    if (firstMade !== undefined) {
      // A strict umask must not shut the server's user out of what we made ourselves.
      for (let made = wanted; made.length >= firstMade.length; made = dirname(made)) await letThrough(made);
    }
    const [{ uid }, names] = [await stat(wanted), await readdir(wanted)];
    // A directory with anything else in it is somebody's; its mode is not ours to change.
    if (uid === 0 && names.every((name) => ourNames.test(name))) await letThrough(wanted);
  }
  return dataDirAt(await realpath(wanted));
}

/** What lies where in a data directory, whether it is there or not. */
export function dataDirAt(path: string): DataDir {
  return {
    path,
    pgdata: join(path, 'postgres'),
    logFile: join(path, 'postgres.log'),
    accessFile: join(path, 'access.json'),
    lockFile: join(path, 'lock'),
    membersDir: join(path, 'members'),
  };
}

/** The topmost directory that was missing. (Node's own recursive mkdir never ends where the system says ENOENT for ever.) */
async function makeDirectories(wanted: string, mode: number): Promise<string | undefined> {
  const missing: string[] = [];
  for (let path = wanted; !(await exists(path)); path = dirname(path)) missing.unshift(path);
  try {
    // Another process may be making the same ones.
    for (const path of missing) await mkdir(path, { mode }).catch(unless('EEXIST'));
    await readdir(wanted);
  } catch (error) {
    throw new EmbeddedServerError(
      'data_dir_invalid',
      `SIGNALBOX_DATA_DIR: ${wanted} cannot be used as a directory: ${(error as Error).message}`,
      { cause: error },
    );
  }
  return missing[0];
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

function unless(code: string): (error: unknown) => void {
  return (error) => {
    if ((error as NodeJS.ErrnoException).code !== code) throw error;
  };
}

/** Throws `data_dir_unreachable` if the server's user may not pass through the directories above the data. */
export async function checkReachable(dataDir: DataDir, owner: ServerOwner | null): Promise<void> {
  if (owner === null) return;
  const { exitCode } = await runCommand('/bin/sh', ['-c', 'test -x "$1"', 'sh', dataDir.path], owner);
  if (exitCode === 0) return;
  throw new EmbeddedServerError(
    'data_dir_unreachable',
    `running as root, PostgreSQL runs as the system user "postgres" (uid ${owner.uid}), which cannot reach ${dataDir.path}. ` +
      'Set SIGNALBOX_DATA_DIR to a directory that every user may pass through, for example under /var/lib, or set DATABASE_URL.',
  );
}

/** Passing through without listing: what lies inside keeps its own modes. */
async function letThrough(directory: string): Promise<void> {
  const { mode } = await stat(directory);
  if ((mode & 0o011) !== 0o011) await chmod(directory, (mode & 0o777) | 0o011);
}
