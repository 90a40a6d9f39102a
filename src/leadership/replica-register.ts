import type { ReplicaId } from '../protocol/ids.ts';
import type { Service } from '../runtime/service.ts';
import { Ticker } from '../runtime/ticker.ts';
import type { Database } from '../store/database.ts';
import { reportReplica, retireReplica } from '../store/replicas.ts';
import type { LeadershipEvent } from './events.ts';

export interface ReplicaRegisterOptions {
  readonly db: Database;
  readonly replicaId: ReplicaId;
  readonly version: string;
  /** Where people reach this replica, asked at each report; null = it does not say. */
  readonly url: () => string | null;
  /** Default 5 s: "alive" for readers is "heard within 15 s", three reports. */
  readonly reportEveryMs?: number;
  readonly onEvent: (event: LeadershipEvent) => void;
}

/** Retiring must not hold up a shutdown; a row left behind is swept after a day. */
const timeoutMs = 2000;

/**
 * Every replica says every few seconds that it is there and takes its row with it when it stops. People read it; nothing
 * is decided by it, so failures are only reported.
 */
export class ReplicaRegister implements Service {
  readonly name = 'replica register';
  readonly #options: ReplicaRegisterOptions;
  readonly #ticker: Ticker;
  #isStarted = false;
  /** Starts and stops take their turns: a late retirement must not remove the row of the next start. */
  #turn: Promise<void> = Promise.resolve();

  constructor(options: ReplicaRegisterOptions) {
    const { db, replicaId, version, url, reportEveryMs = 5000, onEvent } = options;
    if (!(reportEveryMs > 0)) throw new RangeError(`reportEveryMs must be above 0, not ${reportEveryMs}`);
    this.#options = options;
    this.#ticker = new Ticker({
      name: this.name,
      periodMs: reportEveryMs,
      firstDelayMs: 0,
      runOnce: async () => {
        await reportReplica(db, { replicaId, version, url: url() }, { timeoutMs });
        return undefined;
      },
      onError: (error) => onEvent({ kind: 'replica.report_failed', error }),
    });
  }

  start(): Promise<void> {
    return this.#next(async () => {
      this.#isStarted = true;
      await this.#ticker.start();
    });
  }

  stop(): Promise<void> {
    return this.#next(async () => {
      if (!this.#isStarted) return;
      this.#isStarted = false;
      await this.#ticker.stop();
      try {
        await retireReplica(this.#options.db, this.#options.replicaId, { timeoutMs });
      } catch (error) {
        this.#options.onEvent({ kind: 'replica.report_failed', error });
      }
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  #next(work: () => Promise<void>): Promise<void> {
    this.#turn = this.#turn.then(work);
    return this.#turn;
  }
}
