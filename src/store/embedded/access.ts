import { randomBytes } from 'node:crypto';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { DataDir } from './data-dir.ts';
import { errorCode } from './errors.ts';

/** How to get into the server. The password is made once; the port is kept as long as it is free at a start. */
export interface Access {
  readonly port: number;
  readonly password: string;
}

export const userName = 'signalbox';

export function databaseUrl(access: Access, database: string): string {
  return `postgresql://${userName}:${access.password}@127.0.0.1:${access.port}/${database}`;
}

/** null: nothing is kept yet. */
export async function readAccess(dataDir: DataDir): Promise<Access | null> {
  try {
    return JSON.parse(await readFile(dataDir.accessFile, 'utf8')) as Access;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return null;
    throw error;
  }
}

export async function writeAccess(dataDir: DataDir, access: Access): Promise<void> {
  const draft = `${dataDir.accessFile}.new`;
  await writeFile(draft, `${JSON.stringify(access)}\n`, { mode: 0o600, flush: true });
  await rename(draft, dataDir.accessFile);
}

export async function newAccess(): Promise<Access> {
  return { port: (await tryPort(0)) ?? 0, password: randomBytes(24).toString('hex') };
}

/** The same access, with another port if something else listens on its own. */
export async function withFreePort(access: Access): Promise<Access> {
  const kept = access.port === 0 ? null : await tryPort(access.port);
  return kept === null ? { ...access, port: (await tryPort(0)) ?? 0 } : access;
}

/** The port if it can be had on 127.0.0.1, else null; 0 asks for any. It is free again on return, and may be lost then. */
function tryPort(port: number): Promise<number | null> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(null));
    probe.listen({ port, host: '127.0.0.1', exclusive: true }, () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === 'object' && address !== null ? address.port : null));
    });
  });
}
