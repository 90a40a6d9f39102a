import { type ChildProcess, spawn } from 'node:child_process';
import { basename } from 'node:path';

export interface BackgroundProcessOptions {
  /** Added to this process's environment; undefined takes a variable out. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
  readonly uid?: number;
  readonly gid?: number;
}

export interface ProcessEnd {
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A child process of a test. Disposing it kills it, and only it, by its pid. */
export class BackgroundProcess implements AsyncDisposable {
  readonly pid: number;
  /** Resolves when the process has ended and all its output has been read. */
  readonly ended: Promise<ProcessEnd>;
  readonly #child: ChildProcess;
  readonly #name: string;
  readonly #lookAgain = new Set<() => void>();
  #output = '';
  #hasEnded = false;

  private constructor(child: ChildProcess, pid: number, name: string) {
    this.pid = pid;
    this.#child = child;
    this.#name = name;
    const collect = (chunk: string) => {
      this.#output += chunk;
      for (const look of [...this.#lookAgain]) look();
    };
    child.stdout?.setEncoding('utf8').on('data', collect);
    child.stderr?.setEncoding('utf8').on('data', collect);
    // Writing to a process that was killed is not the test's failure.
    child.stdin?.on('error', () => undefined);
    this.ended = new Promise((resolve) => {
      child.once('close', (exitCode, signal) => {
        this.#hasEnded = true;
        for (const look of [...this.#lookAgain]) look();
        resolve({ exitCode, signal });
      });
    });
  }

  /** Resolves when the process runs; rejects if there is no such program. */
  static async start(
    file: string,
    args: readonly string[],
    { env, cwd, uid, gid }: BackgroundProcessOptions = {},
  ): Promise<BackgroundProcess> {
    const child = spawn(file, args, {
      env: { ...process.env, ...env },
      stdio: ['pipe', 'pipe', 'pipe'],
      ...(cwd === undefined ? {} : { cwd }),
      ...(uid === undefined ? {} : { uid }),
      ...(gid === undefined ? {} : { gid }),
    });
    const started = Promise.withResolvers<undefined>();
    child.once('spawn', () => started.resolve(undefined));
    child.once('error', started.reject);
    const { pid } = child;
    if (pid !== undefined) {
      const running = new BackgroundProcess(child, pid, [basename(file), ...args].join(' '));
      await started.promise;
      return running;
    }
    await started.promise;
    throw new Error(`${file} has no pid`);
  }

  /** A script of ours, run by the Node that runs the tests. */
  static node(script: string, args: readonly string[] = [], options?: BackgroundProcessOptions) {
    return BackgroundProcess.start(process.execPath, [script, ...args], options);
  }

  /** stdout and stderr so far, as they came. */
  get output(): string {
    return this.#output;
  }

  /** The first whole line that matches, also one printed before the call. Rejects at the timeout and when the process ends. */
  line(pattern: RegExp, { timeoutMs = 20_000 }: { timeoutMs?: number } = {}): Promise<RegExpExecArray> {
    const { promise, resolve, reject } = Promise.withResolvers<RegExpExecArray>();
    const fail = (why: string) => reject(new Error(`${this.#name}: ${why} ${pattern}; its output:\n${this.#output}`));
    const look = () => {
      for (const line of this.#output.split('\n').slice(0, this.#hasEnded ? undefined : -1)) {
        const match = new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, '')).exec(line);
        if (match !== null) {
          resolve(match);
          return;
        }
      }
      if (this.#hasEnded) fail('ended without a line');
    };
    const timer = setTimeout(() => fail(`within ${timeoutMs} ms no line`), timeoutMs);
    this.#lookAgain.add(look);
    look();
    return promise.finally(() => {
      clearTimeout(timer);
      this.#lookAgain.delete(look);
    });
  }

  endInput(): void {
    this.#child.stdin?.end();
  }

  /** Asks for an orderly end and waits for it. */
  terminate(): Promise<ProcessEnd> {
    return this.#end('SIGTERM');
  }

  /** kill -9, and waits until it is gone. */
  kill(): Promise<ProcessEnd> {
    return this.#end('SIGKILL');
  }

  /** SIGSTOP: the process keeps all it holds and does nothing. */
  pause(): void {
    this.#child.kill('SIGSTOP');
  }

  resume(): void {
    this.#child.kill('SIGCONT');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }

  #end(signal: NodeJS.Signals): Promise<ProcessEnd> {
    if (!this.#hasEnded) this.#child.kill(signal);
    return this.ended;
  }
}
