import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { BackgroundProcess } from '../../support/background-process.ts';

/** A server of the machine's packages on 127.0.0.1, with a data directory of its own that goes with it. */
export interface ServerProgram {
  readonly ports: readonly number[];
  readonly process: BackgroundProcess;
  stop(): Promise<void>;
}

export interface ServerProgramOptions {
  readonly ports: number;
  args(dataDir: string, ports: readonly number[]): string[];
  /** Resolves when it serves. */
  ready(server: Pick<ServerProgram, 'process' | 'ports'>): Promise<unknown>;
}

/** undefined, and a line on stderr, where the program is not installed. */
export async function startServerProgram(
  name: string,
  options: ServerProgramOptions,
): Promise<ServerProgram | undefined> {
  const program = findProgram(name);
  if (program === undefined) {
    process.stderr.write(`${name} is not installed: it is not measured\n`);
    return undefined;
  }
  const ports = await freePorts(options.ports);
  // Where the embedded PostgreSQL of the bench keeps its data too: the same disk for all.
  const dataDir = await mkdtemp(join(tmpdir(), `signalbox-bench-${name}-`));
  const running = await BackgroundProcess.start(program, options.args(dataDir, ports));
  // A bench that fails half way leaves no server behind.
  const killIt = () => void running.kill();
  process.once('exit', killIt);
  const stop = async () => {
    await running.terminate();
    process.off('exit', killIt);
    await rm(dataDir, { recursive: true, force: true });
  };
  try {
    await options.ready({ ports, process: running });
  } catch (error) {
    await stop();
    throw new Error(`${name} did not start; it said:\n${running.output}`, { cause: error });
  }
  return { ports, process: running, stop };
}

/** Debian puts servers where only root's PATH leads. */
function findProgram(name: string): string | undefined {
  const directories = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin'];
  return directories.map((directory) => join(directory, name)).find((file) => existsSync(file));
}

/** Ports nobody listens on now; all different, because all are held until the last is known. */
async function freePorts(count: number): Promise<number[]> {
  const probes = await Promise.all(
    Array.from({ length: count }, async () => {
      const probe = createServer();
      const listening = Promise.withResolvers<undefined>();
      probe.once('error', listening.reject).listen(0, '127.0.0.1', () => listening.resolve(undefined));
      await listening.promise;
      return probe;
    }),
  );
  const ports = probes.map((probe) => (probe.address() as AddressInfo).port);
  for (const probe of probes) probe.close();
  return ports;
}
