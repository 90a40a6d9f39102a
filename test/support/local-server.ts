import { readdir, rm, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Binaries, locateEmbeddedBinaries } from '../../src/store/embedded/binaries.ts';
import { openServer } from '../../src/store/embedded/index.ts';
import { processStart } from '../../src/store/embedded/process-start.ts';
import { type RunningServer, testSettings } from './database-server.ts';

const prefix = 'signalbox-test-';
const debianBinaries = '/usr/lib/postgresql/15/bin';

/** PostgreSQL 18 from npm. Every project of a run that asks gets the same server. */
export async function startEmbedded(): Promise<RunningServer> {
  return startLocal('embedded', await locateEmbeddedBinaries());
}

/** PostgreSQL 15 as Debian packages it. */
export async function startDebian15(): Promise<RunningServer> {
  const program = (name: string) => join(debianBinaries, name);
  return startLocal('debian-15', {
    initdb: program('initdb'),
    pg_ctl: program('pg_ctl'),
    postgres: program('postgres'),
  });
}

async function startLocal(name: string, binaries: Binaries): Promise<RunningServer> {
  const place = await fastPlace();
  await removeLeftOver(place, name, binaries);
  const mine = `${prefix}${name}-${process.pid}-${await processStart(process.pid)}`;
  const dataDir = join(place, mine);
  const server = await openServer(binaries, { dataDir, log: () => undefined, postgresSettings: testSettings });
  return {
    adminUrl: server.url,
    poolerUrl: null,
    stop: async () => {
      if ((await server.leave()) === 'stopped') await rm(dataDir, { recursive: true, force: true });
    },
  };
}

/**
 * Memory where there is enough of it, else the temporary directory. Cloning a database is a matter of 300 small files:
 * measured 8 ms in memory, 330 ms on a slow disk.
 */
async function fastPlace(): Promise<string> {
  const memory = '/dev/shm';
  const found = await statfs(memory).catch(() => null);
  // Containers often have 64 MB there; a run with all its databases takes a few hundred.
  return found !== null && found.bavail * found.bsize > 4 * 2 ** 30 ? memory : tmpdir();
}

/** A run that was killed left its server running: joining and leaving it stops it. */
async function removeLeftOver(place: string, name: string, binaries: Binaries): Promise<void> {
  for (const entry of await readdir(place)) {
    if (!entry.startsWith(`${prefix}${name}-`)) continue;
    const [pid, start] = entry.slice(`${prefix}${name}-`.length).split('-');
    if ((await processStart(Number(pid))) === start) continue;
    const dataDir = join(place, entry);
    try {
      const server = await openServer(binaries, { dataDir, log: () => undefined });
      if ((await server.leave()) !== 'stopped') continue;
    } catch {
      // Too broken to open: nothing runs there.
    }
    await rm(dataDir, { recursive: true, force: true });
  }
}
