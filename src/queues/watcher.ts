import type { WaitingRoom } from '../notifier/waiting-room.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Service } from '../runtime/service.ts';
import { Ticker } from '../runtime/ticker.ts';
import type { Database } from '../store/database.ts';
import { advance, type ClaimKey, hear, look, rowsPerCall, watch } from '../store/decisions.ts';
import { listenMsMax } from './claims.ts';
import type { News } from './news.ts';

export interface WatcherOptions {
  readonly db: Database;
  readonly clock: Clock;
  readonly room: WaitingRoom;
  readonly news: News;
  readonly onError: (error: unknown) => void;
  /** How often the waiting claims are looked after, all in one read. */
  readonly watchEveryMs?: number;
  readonly hearEveryMs?: number;
}

/**
 * Looks after the claims whose clients wait on this replica: keeps them alive, finds grants whose notification was lost,
 * and moves lines whose lease ran out, so that a dead holder or a dead leader costs connected waiters nothing. One
 * statement for all of them, however many they are.
 */
export class Watcher implements Service {
  readonly name = 'watcher';
  readonly #options: WatcherOptions;
  readonly #ticker: Ticker;
  readonly #hungUp = new Map<string, ClaimKey>();
  #heardAtMs = -Infinity;

  constructor(options: WatcherOptions) {
    this.#options = options;
    this.#ticker = new Ticker({
      name: 'watcher',
      periodMs: options.watchEveryMs ?? 500,
      runOnce: () => this.runOnce(),
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

  /** The client of this claim no longer listens. It keeps its place; a grant to it will be an offer. */
  stoppedListening(key: ClaimKey): void {
    this.#hungUp.set(`${key.queue}\n${key.claim_id}`, key);
    this.#ticker.nudge();
  }

  /** Claims that another replica says have moved: those waited for here are read and delivered. */
  async moved(keys: readonly ClaimKey[]): Promise<void> {
    const { db, clock, room, news } = this.#options;
    const here = keys.filter((key) => room.has(key));
    if (here.length === 0) return;
    const sentAtMs = clock.monotonicMs();
    news.deliverHere(await look(db, here, { hear: true }), sentAtMs);
  }

  async runOnce(): Promise<undefined> {
    const { db, clock, room, news } = this.#options;
    const hungUp = [...this.#hungUp.values()].filter((key) => !room.has(key));
    this.#hungUp.clear();
    if (hungUp.length > 0) await hear(db, hungUp, 0);
    const keys = room.keys();
    if (keys.length === 0) return;
    const found = await watch(db, keys);
    const queues = found.filter(({ code }) => code === 'can_advance').map(({ queue }) => queue);
    let moved = queues.length === 0 ? 0 : rowsPerCall;
    while (moved >= rowsPerCall) {
      const sentAtMs = clock.monotonicMs();
      const decisions = await advance(db, queues);
      news.spread(decisions, sentAtMs);
      moved = decisions.length;
    }
    const gone = found.flatMap(({ code, queue, claim_id: claimId }) =>
      code === 'moved' && claimId !== null ? [{ queue, claim_id: claimId }] : [],
    );
    await this.moved(gone);
    if (clock.monotonicMs() - this.#heardAtMs >= (this.#options.hearEveryMs ?? 2000)) {
      this.#heardAtMs = clock.monotonicMs();
      await hear(db, room.keys(), listenMsMax);
    }
    return;
  }
}
