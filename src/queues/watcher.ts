import type { TakerRoom } from '../notifier/taker-room.ts';
import type { WaitingRoom } from '../notifier/waiting-room.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Service } from '../runtime/service.ts';
import { Ticker } from '../runtime/ticker.ts';
import type { Database } from '../store/database.ts';
import { watchCleaners } from '../store/cleanings.ts';
import { advance, changesIn, type ClaimKey, hear, look, rowsPerCall, watch } from '../store/decisions.ts';
import { watchTakers } from '../store/takes.ts';
import { listenMsMax } from './claims.ts';
import type { News } from './news.ts';

export interface WatcherOptions {
  readonly db: Database;
  readonly clock: Clock;
  readonly room: WaitingRoom;
  readonly takers: TakerRoom;
  readonly cleaners: TakerRoom;
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
      runOnce: ({ signal }) => this.runOnce({ signal }),
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

  /**
   * Claims that another replica says have moved: those waited for here are read and delivered. Nobody is heard by it: an
   * offer is accepted when it is delivered, not for a client that has just gone.
   */
  async moved(keys: readonly ClaimKey[]): Promise<void> {
    const { db, clock, room, news } = this.#options;
    const here = keys.filter((key) => room.has(key));
    if (here.length === 0) return;
    const sentAtMs = clock.monotonicMs();
    news.deliverHere(await look(db, here, { hear: false }), sentAtMs);
  }

  /** One round. Its parts do not depend on each other: the failure of one is thrown after the others were done. */
  async runOnce({ signal }: { readonly signal: AbortSignal }): Promise<undefined> {
    const rounds = await Promise.allSettled([
      this.#tellHungUp(),
      this.#watch(signal),
      this.#keepHeard(),
      this.#callTakers(),
      this.#callCleaners(),
    ]);
    for (const round of rounds) if (round.status === 'rejected') throw round.reason;
    return undefined;
  }

  /** Kept until it has been written: an absent client that counts as listening would get a whole lease. */
  async #tellHungUp(): Promise<void> {
    const { db, room } = this.#options;
    const told = [...this.#hungUp];
    const gone = told.map(([, key]) => key).filter((key) => !room.has(key));
    if (gone.length > 0) await hear(db, gone, 0);
    for (const [place, key] of told) if (this.#hungUp.get(place) === key) this.#hungUp.delete(place);
  }

  async #watch(signal: AbortSignal): Promise<void> {
    const { db, clock, room, news } = this.#options;
    const keys = room.keys();
    if (keys.length === 0) return;
    const found = await watch(db, keys);
    const queues = found.filter(({ code }) => code === 'can_advance').map(({ queue }) => queue);
    let moved = queues.length === 0 ? 0 : rowsPerCall;
    while (moved >= rowsPerCall && !signal.aborted) {
      const sentAtMs = clock.monotonicMs();
      const decisions = await advance(db, queues);
      news.spread(decisions, sentAtMs);
      moved = changesIn(decisions);
    }
    const gone = found.flatMap(({ code, queue, claim_id: claimId }) =>
      code === 'moved' && claimId !== null ? [{ queue, claim_id: claimId }] : [],
    );
    await this.moved(gone);
  }

  /** Workers for whom something may have come that nobody told of: one read for all of them. */
  async #callTakers(): Promise<void> {
    const { db, takers } = this.#options;
    const sources = takers.sources();
    if (sources.length === 0) return;
    for (const index of await watchTakers(db, sources)) {
      const source = sources[index];
      if (source !== undefined) takers.callAll(source);
    }
  }

  async #callCleaners(): Promise<void> {
    const { db, cleaners } = this.#options;
    const queues = cleaners.sources().flatMap((source) => ('queue' in source ? [source.queue] : []));
    if (queues.length === 0) return;
    for (const queue of await watchCleaners(db, queues)) cleaners.callAll({ queue });
  }

  async #keepHeard(): Promise<void> {
    const { db, clock, room } = this.#options;
    if (clock.monotonicMs() - this.#heardAtMs < (this.#options.hearEveryMs ?? 2000)) return;
    const keys = room.keys();
    if (keys.length > 0) await hear(db, keys, listenMsMax);
    this.#heardAtMs = clock.monotonicMs();
  }
}
