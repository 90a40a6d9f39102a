import type { Service } from '../runtime/service.ts';
import { Ticker } from '../runtime/ticker.ts';
import type { Database } from '../store/database.ts';
import { readFailover } from '../store/failovers.ts';

/** A failover of the database, as the decision that found it has written it down. */
export interface SeenFailover {
  readonly timeline: string;
  readonly previous: string | null;
  readonly at: Date;
  /** For how long queues still grant nothing new, at most. */
  readonly quarantineMs: number;
}

export interface FailoverWatchOptions {
  readonly db: Database;
  readonly onFailover: (failover: SeenFailover) => void;
  readonly onError: (error: unknown) => void;
  /** Default 5 s: people read it; decisions compare the timeline themselves. */
  readonly everyMs?: number;
}

/** Knows of the last failover of the database, for logs and metrics of this replica. Nothing is decided by it. */
export class FailoverWatch implements Service {
  readonly name = 'failover watch';
  readonly #ticker: Ticker;
  #changes: number | undefined;
  #quarantineMs = 0;

  constructor({ db, onFailover, onError, everyMs = 5000 }: FailoverWatchOptions) {
    this.#ticker = new Ticker({
      name: this.name,
      periodMs: everyMs,
      firstDelayMs: 0,
      runOnce: async () => {
        const row = await readFailover(db);
        if (row === undefined) return undefined;
        const { timeline, previous, changed_at: at, changes } = row;
        this.#quarantineMs = Number(row.quarantine_ms);
        // One that was over before this replica began is no news.
        const isNews = this.#changes === undefined ? this.#quarantineMs > 0 : changes > this.#changes;
        this.#changes = changes;
        if (isNews && at !== null) onFailover({ timeline, previous, at, quarantineMs: this.#quarantineMs });
        return undefined;
      },
      onError,
    });
  }

  /** Failovers seen since the schema was made, and how long queues still grant nothing new; as of the last look. */
  figures(): { readonly failovers: number; readonly quarantineSeconds: number } {
    return { failovers: this.#changes ?? 0, quarantineSeconds: this.#quarantineMs / 1000 };
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
}
