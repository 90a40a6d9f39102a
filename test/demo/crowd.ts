import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** What a client said: its word, then what belongs to it. */
export interface Said {
  readonly client: DemoClient;
  readonly word: 'waits' | 'begins' | 'ends' | 'refused' | 'released' | 'retries' | 'failed';
  readonly rest: readonly string[];
}

export interface ClientOptions {
  readonly name: string;
  readonly queue: string;
  readonly directory: string;
  readonly holdSeconds: number;
  readonly urls: readonly string[];
  readonly onSaid: (said: Said) => void;
}

/** A real process: test/demo/client.sh around curl. */
export class DemoClient {
  readonly name: string;
  /** Resolves with the exit code, null if a signal ended it. */
  readonly ended: Promise<number | null>;
  readonly #process: ChildProcess;

  constructor({ name, queue, directory, holdSeconds, urls, onSaid }: ClientOptions) {
    this.name = name;
    const script = join(import.meta.dirname, 'client.sh');
    this.#process = spawn('/bin/sh', [script, name, queue, directory, `${holdSeconds}`, urls.join(' ')], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    if (this.#process.stdout !== null) {
      createInterface({ input: this.#process.stdout }).on('line', (line) => {
        const [word, ...rest] = line.split(' ');
        onSaid({ client: this, word: word as Said['word'], rest });
      });
    }
    this.ended = once(this.#process, 'exit').then(([code]) => code as number | null);
  }

  signal(signal: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): void {
    this.#process.kill(signal);
  }
}
