import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';

export interface ClientOptions {
  readonly name: string;
  readonly queue: string;
  readonly directory: string;
  readonly jobSeconds: number;
  readonly ttlSeconds: number;
  readonly url: string;
  /** A line of the wrapper (`signalbox: …`) or of its job (`job: …`). */
  readonly onLine: (client: DemoClient, line: string) => void;
}

const program = join(import.meta.dirname, '../../src/main.ts');
const jobScript = join(import.meta.dirname, 'job.sh');
const resourceScript = join(import.meta.dirname, 'resource.sh');

/** A real process: `signalbox run … -- sh job.sh`. */
export class DemoClient {
  readonly name: string;
  /** Resolves with the exit code, null if a signal ended it. */
  readonly ended: Promise<number | null>;
  readonly #process: ChildProcess;

  constructor({ name, queue, directory, jobSeconds, ttlSeconds, url, onLine }: ClientOptions) {
    this.name = name;
    const lease = ['--queue', queue, '--ttl', `${ttlSeconds}s`, '--holder', name, '--claim-id', `${name}-1`];
    const job = ['sh', jobScript, directory, `${jobSeconds}`];
    const child = spawn(process.execPath, [program, 'run', '--url', url, ...lease, '--', ...job], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const hear = (input: Readable) => createInterface({ input }).on('line', (line) => onLine(this, line));
    hear(child.stdout);
    hear(child.stderr);
    this.#process = child;
    this.ended = once(child, 'close').then(([code]) => code as number | null);
  }

  signal(signal: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): void {
    this.#process.kill(signal);
  }
}

/** One write to the guarded file, under no lease: whether the file took it. */
export async function writeByHand(directory: string, token: number, slot: string, name: string): Promise<boolean> {
  const child = execFile('sh', [resourceScript, directory, 'end', `${token}`, slot, name]);
  const [code] = (await once(child, 'exit')) as [number | null];
  return code === 0;
}
