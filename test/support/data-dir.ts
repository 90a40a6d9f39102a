import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { openEmbeddedServer } from '../../src/store/embedded/index.ts';
import { BackgroundProcess } from './background-process.ts';

/** A process that has the embedded server open. */
export interface Opener {
  readonly process: BackgroundProcess;
  readonly url: string;
  readonly joined: boolean;
  /** Ends the process in an orderly way; what its `leave()` answered. */
  leave(): Promise<string>;
}

/** A data directory of one test. Disposing it ends its processes, stops its server and removes it. */
export class TemporaryDataDir implements AsyncDisposable {
  readonly path: string;
  readonly lockFile: string;
  readonly #openers: BackgroundProcess[] = [];

  private constructor(path: string) {
    this.path = path;
    this.lockFile = join(path, 'postgres/postmaster.pid');
  }

  static async make(): Promise<TemporaryDataDir> {
    return new TemporaryDataDir(await mkdtemp(join(tmpdir(), 'signalbox-embedded-')));
  }

  /** Starts a process that opens the server; the process may not have it yet. */
  async startOpener(): Promise<BackgroundProcess> {
    const script = join(import.meta.dirname, 'embedded-server-process.ts');
    const opener = await BackgroundProcess.node(script, [this.path]);
    this.#openers.push(opener);
    return opener;
  }

  /** Starts a process and waits until it has the server open. */
  async open(): Promise<Opener> {
    return opened(await this.startOpener());
  }

  async postmasterPid(): Promise<number> {
    return Number((await readFile(this.lockFile, 'utf8')).split('\n')[0]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#openers.map((opener) => opener.kill()));
    if (existsSync(this.lockFile)) {
      const server = await openEmbeddedServer({ dataDir: this.path, log: () => undefined });
      await server.leave();
    }
    await rm(this.path, { recursive: true, force: true });
  }
}

/** Waits until the process has the server open. */
export async function opened(process: BackgroundProcess): Promise<Opener> {
  const [line] = await process.line(/^\{"url".*/, { timeoutMs: 60_000 });
  const { url, joined } = JSON.parse(line) as { url: string; joined: boolean };
  return {
    process,
    url,
    joined,
    leave: async () => {
      await process.terminate();
      return (JSON.parse((await process.line(/^\{"left".*/))[0]) as { left: string }).left;
    },
  };
}

/** One statement on a connection of its own. */
export async function ask(url: string, sql: string): Promise<Record<string, unknown> | undefined> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return ((await client.query(sql)).rows as Record<string, unknown>[])[0];
  } finally {
    await client.end();
  }
}
