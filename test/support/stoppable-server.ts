import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { locateEmbeddedBinaries, usableBinaries } from '../../src/store/embedded/binaries.ts';
import { runCommand } from '../../src/store/embedded/command.ts';
import { openEmbeddedServer } from '../../src/store/embedded/index.ts';
import { findServerOwner } from '../../src/store/embedded/server-owner.ts';

/** A PostgreSQL of one test, that the test may stop and start behind everybody's back, always on the same port. */
export interface StoppableServer extends AsyncDisposable {
  readonly url: string;
  /** Of its data and its password, see `openEmbeddedServer`. */
  readonly dataDir: string;
  /** `immediate` is a crash: sessions are cut, the next start recovers. `fast` ends sessions and shuts down cleanly. */
  stop(mode: 'fast' | 'immediate'): Promise<void>;
  /** Resolves when it takes connections. */
  start(): Promise<void>;
}

export async function stoppableServer(): Promise<StoppableServer> {
  const dataDir = await mkdtemp(join(tmpdir(), 'signalbox-stoppable-'));
  // Data survives a crashed server without fsync; only a lost machine needs it.
  const server = await openEmbeddedServer({ dataDir, log: () => undefined, postgresSettings: { fsync: 'off' } });
  const owner = await findServerOwner();
  const { binaries } = await usableBinaries(await locateEmbeddedBinaries(), owner);
  const [pgdata, logFile] = [join(dataDir, 'postgres'), join(dataDir, 'postgres.log')];
  const control = async (...args: string[]) => {
    const { exitCode, output } = await runCommand(binaries.pg_ctl, [...args, '-D', pgdata, '-w', '-t', '60'], owner);
    if (exitCode !== 0) throw new Error(`pg_ctl ${args.join(' ')}: ${output}`);
  };
  return {
    url: server.url,
    dataDir,
    stop: (mode) => control('stop', '-m', mode),
    start: () => control('start', '-l', logFile),
    [Symbol.asyncDispose]: async () => {
      await server.leave();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}
