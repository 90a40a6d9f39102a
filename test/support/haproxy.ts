import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { BackgroundProcess } from './background-process.ts';
import { readText } from './deployment.ts';
import { until } from './until.ts';

/** Where HAProxy is, undefined if it is not installed. Debian puts it where only root's PATH leads. */
export function findHaproxy(): string | undefined {
  const directories = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin'];
  return directories.map((directory) => join(directory, 'haproxy')).find((file) => existsSync(file));
}

export interface DoorAddresses {
  readonly port: number;
  /** Of replica-1, replica-2 and so on. */
  readonly replicas: readonly string[];
}

/** deploy/haproxy.cfg with nothing changed but the addresses. Throws if it has not exactly these places for them. */
export async function configFor({ port, replicas }: DoorAddresses): Promise<string> {
  let config = await readText('deploy/haproxy.cfg');
  const replace = (from: string, to: string) => {
    if (config.split(from).length !== 2) throw new Error(`deploy/haproxy.cfg has not exactly one "${from}"`);
    config = config.replace(from, to);
  };
  replace('bind :8080\n', `bind 127.0.0.1:${port}\n`);
  for (const [index, url] of replicas.entries())
    replace(` replica-${index + 1}:8080\n`, ` 127.0.0.1:${new URL(url).port}\n`);
  if (/replica-\d+:/.test(config)) throw new Error('deploy/haproxy.cfg has more servers than there are replicas');
  return config;
}

/** What `haproxy -c` says about a configuration. */
export async function checkConfig(program: string, config: string): Promise<{ exitCode: number | null; said: string }> {
  await using file = await temporaryFile(config);
  await using check = await BackgroundProcess.start(program, ['-c', '-f', file.path]);
  const { exitCode } = await check.ended;
  return { exitCode, said: check.output };
}

/** A real HAProxy in front of replicas, as deploy/haproxy.cfg has it. Disposing it kills it. */
export class Door implements AsyncDisposable {
  readonly url: string;
  readonly #process: BackgroundProcess;
  readonly #file: AsyncDisposable;

  private constructor(url: string, process: BackgroundProcess, file: AsyncDisposable) {
    this.url = url;
    this.#process = process;
    this.#file = file;
  }

  static async start(program: string, replicas: readonly string[]): Promise<Door> {
    const port = await freePort();
    const file = await temporaryFile(await configFor({ port, replicas }));
    const door = new Door(
      `http://127.0.0.1:${port}`,
      await BackgroundProcess.start(program, ['-db', '-f', file.path]),
      file,
    );
    await until(async () => (await fetch(`${door.url}/healthz`)).ok, { what: `the door opens\n${door.log}` });
    return door;
  }

  get log(): string {
    return this.#process.output;
  }

  /** How often its checks found that this server came up or went down. */
  turns(server: string, to: 'UP' | 'DOWN'): number {
    // Said twice: by its log, and as a warning on stderr.
    return this.log.split(`\nServer replicas/${server} is ${to}`).length - 1;
  }

  /** Requests so far that it had to ask of a replica more than once: the last number of a log line's connection counts. */
  get repeated(): number {
    return [...this.log.matchAll(/ \d+\/\d+\/\d+\/\d+\/\+?([1-9]\d*) \d+\/\d+ /g)].length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process.kill();
    await this.#file[Symbol.asyncDispose]();
  }
}

async function temporaryFile(text: string): Promise<AsyncDisposable & { path: string }> {
  const directory = await mkdtemp(join(tmpdir(), 'signalbox-haproxy-'));
  const path = join(directory, 'haproxy.cfg');
  await writeFile(path, text);
  return { path, [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }) };
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer().once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address() as AddressInfo;
      probe.close(() => resolve(port));
    });
  });
}
