import {
  SignalboxClient,
  type RunContext,
  type RunHandler,
  Worker,
  type WorkerOptions,
} from '../../../src/client/index.ts';
import { until } from '../../support/until.ts';
import { ScriptedRuns } from '../scripted-runs.ts';

interface Work {
  readonly context: RunContext;
  readonly resolve: (value?: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** A handler whose runs end when the test says so, and how. */
export class Desk {
  readonly #work = new Map<string, Work>();

  readonly handler: RunHandler = ({ claim_id: id }, context) => {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    this.#work.set(id, { context, resolve, reject });
    return promise.finally(() => this.#work.delete(id));
  };

  get atWork(): string[] {
    return [...this.#work.keys()];
  }

  /** Waits until the run is at work. */
  async on(claimId: string): Promise<Work> {
    return await until(() => this.#work.get(claimId), { what: `${claimId} is at work` });
  }

  async end(claimId: string, value?: unknown): Promise<void> {
    (await this.on(claimId)).resolve(value);
  }

  async fail(claimId: string, error: unknown): Promise<void> {
    (await this.on(claimId)).reject(error);
  }
}

/** Waits for the signal and throws its reason, as most platform calls do. */
export const untilAborted: RunHandler = (_run, { signal }) =>
  new Promise((_resolve, reject) => {
    const stop = () => reject(signal.reason as Error);
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop);
  });

export interface AWorker extends AsyncDisposable {
  readonly worker: Worker;
  readonly runs: ScriptedRuns;
  readonly desk: Desk;
  /** What it told: 'taken a', 'ended a', 'retried a', 'failed a', 'lost a expired', 'unreachable take', 'stopped' … */
  readonly events: string[];
  /** Waits until it told all of these, in any order. */
  told(...events: readonly string[]): Promise<void>;
}

/** A started worker on a scripted service that has these runs. Its leases last 1.2 s: renewed at 0.4 s, late at 0.8 s. */
export async function aWorker(claimIds: readonly string[], options: Partial<WorkerOptions> = {}): Promise<AWorker> {
  const runs = await ScriptedRuns.start(...claimIds);
  const desk = new Desk();
  const client = new SignalboxClient({ url: runs.url });
  const worker = new Worker({
    client,
    ...(options.prefix === undefined ? { queue: 'q' } : {}),
    handler: desk.handler,
    graceMs: 0,
    settleMs: 100,
    ...options,
  });
  const events: string[] = [];
  const note = (event: string) => void events.push(event);
  worker
    .on('taken', ({ claim_id: id }) => note(`taken ${id}`))
    .on('ended', ({ claim_id: id }) => note(`ended ${id}`))
    .on('retried', ({ claim_id: id }) => note(`retried ${id}`))
    .on('failed', ({ claim_id: id }) => note(`failed ${id}`))
    .on('lost', ({ claim_id: id }, reason) => note(`lost ${id} ${reason}`))
    .on('unreachable', (_error, call) => note(`unreachable ${call}`))
    .on('refused', (_error, call) => note(`refused ${call}`))
    .on('stopped', () => note('stopped'));
  await worker.start();
  return {
    worker,
    runs,
    desk,
    events,
    told: async (...expected) => {
      const what = `${expected.join(', ')} told`;
      await until(() => expected.every((event) => events.includes(event)), { what }).catch((error: unknown) => {
        throw new Error(`${what}; it told ${events.join(', ')}`, { cause: error });
      });
    },
    [Symbol.asyncDispose]: async () => {
      await worker.stop({ graceMs: 0 });
      await runs[Symbol.asyncDispose]();
    },
  };
}
