import { readFile, readlink, rm, writeFile } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { platform } from 'node:os';
import { basename, join } from 'node:path';
import type { DataDir } from './data-dir.ts';
import { isAlive, processStart } from './process-start.ts';

/** The first process of a running server, as its lock file `postmaster.pid` tells. */
export interface Postmaster {
  readonly pid: number;
  readonly port: number;
}

/** A pid that no process can have. */
const impossiblePid = 2 ** 31 - 2;

/** The server that runs on this data, null if none does. A lock file that names an unrelated process is seen through. */
export async function findPostmaster(dataDir: DataDir): Promise<Postmaster | null> {
  const lines = await readLockFile(dataDir);
  if (lines === null) return null;
  const [pid, port] = [Number(lines[0]), Number(lines[3])];
  if (!Number.isSafeInteger(pid) || pid <= 1 || (await processStart(pid)) === null) return null;
  const isServer =
    platform() === 'linux' ? await worksOn(pid, dataDir.pgdata) : isAlive(pid) && (await listensOn(port));
  return isServer ? { pid, port } : null;
}

/**
 * Makes a left-over lock file harmless; call it only when `findPostmaster` found nothing. The server would refuse to
 * start if the file's pid belonged to any process of its user. The file is not deleted: it also names the shared memory
 * by which a starting server notices backends that outlived a killed postmaster, and two generations of processes on one
 * data directory would destroy it.
 */
export async function disarmLockFile(dataDir: DataDir): Promise<void> {
  const lines = await readLockFile(dataDir);
  if (lines === null) return;
  const path = join(dataDir.pgdata, 'postmaster.pid');
  if (!/^-?\d+$/.test(lines[0] ?? '')) await rm(path, { force: true });
  else await writeFile(path, [`${impossiblePid}`, ...lines.slice(1)].join('\n'));
}

async function readLockFile({ pgdata }: DataDir): Promise<string[] | null> {
  const text = await readFile(join(pgdata, 'postmaster.pid'), 'utf8').catch(() => null);
  return text === null ? null : text.split('\n');
}

/** A postmaster's directory is its data. Containers may hide that from root; its command line is open to all. */
async function worksOn(pid: number, pgdata: string): Promise<boolean> {
  const directory = await readlink(`/proc/${pid}/cwd`).catch(() => null);
  const words = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0');
  if (!basename(words[0] ?? '').startsWith('postgres')) return false;
  return directory === pgdata || words.includes(pgdata);
}

function listensOn(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ port, host: '127.0.0.1', timeout: 2000 });
    const settle = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.once('connect', () => settle(true));
    socket.once('error', () => settle(false));
    socket.once('timeout', () => settle(false));
  });
}
