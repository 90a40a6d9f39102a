import type { Service } from '../runtime/service.ts';
import { Ticker } from '../runtime/ticker.ts';
import type { Database } from '../store/database.ts';
import { readMergeQueueNews } from '../store/merge-queues.ts';
import type { WaitingBuilds } from './waiting-builds.ts';

export interface MergeQueueWatchOptions {
  readonly db: Database;
  readonly room: WaitingBuilds;
  readonly onError: (error: unknown) => void;
  readonly everyMs?: number;
}

/** Finds what nobody told of: one read a round for all the merge queues that are waited for here, none while none is. */
export class MergeQueueWatch implements Service {
  readonly name = 'merge-queue-watch';
  readonly #options: MergeQueueWatchOptions;
  readonly #ticker: Ticker;
  #seen: ReadonlyMap<string, string> = new Map();

  constructor(options: MergeQueueWatchOptions) {
    this.#options = options;
    this.#ticker = new Ticker({
      name: this.name,
      periodMs: options.everyMs ?? 1000,
      runOnce: () => this.#look(),
      onError: options.onError,
    });
  }

  start(): Promise<void> {
    return this.#ticker.start();
  }

  stop(): Promise<void> {
    return this.#ticker.stop();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #look(): Promise<undefined> {
    const { db, room } = this.#options;
    const queues = room.queues();
    const before = this.#seen;
    this.#seen = queues.length === 0 ? new Map() : await readMergeQueueNews(db, queues);
    // One that was not looked at before counts as changed: it may have between the first call and this look.
    for (const queue of queues) if (before.get(queue) !== this.#seen.get(queue)) room.wake(queue);
    return undefined;
  }
}
