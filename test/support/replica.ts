import { join } from 'node:path';
import { BackgroundProcess, type ProcessEnd } from './background-process.ts';
import { TestClient } from './http-client.ts';

const program = join(import.meta.dirname, '../../src/main.ts');

export interface ReplicaOptions {
  /** Absent: the embedded server of `SIGNALBOX_DATA_DIR` in `env`. */
  readonly databaseUrl?: string;
  readonly directUrl?: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly timeoutMs?: number;
}

/** A real `signalbox serve` in a process of its own. Disposing it kills it. */
export interface Replica extends AsyncDisposable {
  readonly url: string;
  readonly pid: number;
  readonly client: TestClient;
  readonly process: BackgroundProcess;
  /** Everything it printed so far. */
  readonly log: string;
  /** Its `replica_id`, as it calls itself. */
  id(): Promise<string>;
  kill9(): Promise<ProcessEnd>;
  /** SIGTERM; resolves with the exit code once it is gone, null if a signal ended it. */
  terminate(): Promise<number | null>;
  pause(): void;
  resume(): void;
}

/** Starts a replica on a free port and resolves when it says that it listens. */
export async function startReplica(options: ReplicaOptions): Promise<Replica> {
  return listening(await launchReplica(options), options.timeoutMs);
}

/** Starts the process only; `listening` waits for it. */
export function launchReplica({ databaseUrl, directUrl, env }: ReplicaOptions): Promise<BackgroundProcess> {
  return BackgroundProcess.node(program, ['serve'], {
    env: {
      HOST: undefined,
      PORT: '0',
      DATABASE_URL: databaseUrl,
      DATABASE_DIRECT_URL: directUrl,
      LOG_LEVEL: 'info',
      ...env,
    },
  });
}

export async function listening(process: BackgroundProcess, timeoutMs = 30_000): Promise<Replica> {
  let url: string;
  try {
    [, url = ''] = await process.line(/^Signalbox listens on (\S+)$/, { timeoutMs });
  } catch (error) {
    await process.kill();
    throw error;
  }
  const client = new TestClient(url);
  return {
    url,
    pid: process.pid,
    client,
    process,
    get log() {
      return process.output;
    },
    id: async () => (await client.orchestrator()).body.replica_id,
    kill9: () => process.kill(),
    terminate: async () => (await process.terminate()).exitCode,
    pause: () => process.pause(),
    resume: () => process.resume(),
    [Symbol.asyncDispose]: async () => {
      await process.kill();
    },
  };
}
