import type { Clock } from '../runtime/clock.ts';
import type { Database } from '../store/database.ts';
import type { Decision } from '../store/decisions.ts';
import { failureKind } from '../store/failures.ts';
import { take, type TakeItem } from '../store/takes.ts';
import { Batcher } from './batcher.ts';
import { databaseProblem } from './database-problem.ts';
import type { News } from './news.ts';

/** What one request of a take came to. */
export interface Served {
  readonly taken: readonly Decision[];
  /** There may be more: ask again. */
  readonly more: boolean;
  /** A line was locked by somebody else. */
  readonly busy: boolean;
  /** The request had been made before; this is what it gave. */
  readonly repeated: boolean;
  /** Queues that runs wait for in the inbox and that do not exist. */
  readonly missing: readonly string[];
  readonly refusal: Decision | undefined;
  readonly sentAtMs: number;
}

export interface TakeDeskOptions {
  readonly db: Database;
  readonly clock: Clock;
  readonly news: News;
  readonly pendingMax: number;
}

/** Each request may lock 64 lines; more of them in a call would hold theirs for the commit of all. */
const requestsPerCall = 16;

/** Where takes become leases: all of one turn in one call, one call at a time, so that those who asked first are served first. */
export class TakeDesk {
  readonly #options: TakeDeskOptions;
  readonly #batcher: Batcher<TakeItem, Served>;

  constructor(options: TakeDeskOptions) {
    this.#options = options;
    this.#batcher = new Batcher({
      clock: options.clock,
      run: (items, sentAtMs) => this.#run(items, sentAtMs, { wait: false }),
      batchMax: requestsPerCall,
      inFlightMax: 1,
      pendingMax: options.pendingMax,
    });
  }

  /** Requests that wait to be sent. */
  get pending(): number {
    return this.#batcher.pending;
  }

  ask(item: TakeItem): Promise<Served> {
    return this.#batcher.submit(item);
  }

  /** Waits for the line of a named queue, at most 250 ms, instead of passing it over. */
  async askWaiting(item: TakeItem & { readonly queue: string }): Promise<Served> {
    const [served] = await this.#run([item], this.#options.clock.monotonicMs(), { wait: true });
    if (served === undefined) throw new Error('the database did not answer this take');
    return served;
  }

  /** A batch that met a lock or a deadlock did nothing; then each request is tried alone, once. */
  async #run(
    items: readonly TakeItem[],
    sentAtMs: number,
    { wait }: { readonly wait: boolean },
  ): Promise<readonly (Served | Promise<Served>)[]> {
    const { db, clock, news } = this.#options;
    let decisions: readonly Decision[];
    try {
      decisions = await take(db, items, { wait });
    } catch (error) {
      if (failureKind(error) !== 'contended' || items.length === 1) throw databaseProblem(error);
      return items.map(async (item) => {
        const [served] = await this.#run([item], clock.monotonicMs(), { wait });
        if (served === undefined) throw new Error('the database did not answer this take');
        return served;
      });
    }
    news.spread(
      decisions.filter(({ code }) => code !== 'served' && code !== 'queue_missing'),
      sentAtMs,
    );
    const missing = decisions.filter(({ code }) => code === 'queue_missing').map(({ queue }) => queue);
    return items.map((item, index) => {
      const own = decisions.filter((decision) => decision.item === index);
      const end = own.find(({ code }) => code === 'served')?.body;
      return {
        taken: own.filter(({ code }) => code === 'taken'),
        more: end?.['more'] === true,
        busy: end?.['busy'] === true,
        repeated: end?.['repeated'] === true,
        missing: missing.filter((queue) => ('queue' in item ? item.queue === queue : queue.startsWith(item.prefix))),
        refusal: own.find(({ code }) => code !== 'served' && code !== 'taken'),
        sentAtMs,
      };
    });
  }
}
