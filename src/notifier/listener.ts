import { setTimeout as sleep } from 'node:timers/promises';
import type { ReplicaId } from '../protocol/ids.ts';
import { backoffMs } from '../runtime/backoff.ts';
import { isAborted } from '../runtime/pause.ts';
import type { Service } from '../runtime/service.ts';
import type { Database } from '../store/database.ts';
import { listen, notify } from '../store/notifications.ts';
import { decode, encodeProbe, type Message } from './messages.ts';

export interface ListenerOptions {
  readonly db: Database;
  /** Never through a transaction pooler. */
  readonly directUrl: string;
  readonly replicaId: ReplicaId;
  readonly onMessage: (message: Message) => void;
  /** `works` false: notifications do not arrive; waiters are woken by polls alone. */
  readonly onState: (state: { readonly works: boolean; readonly error?: unknown }) => void;
  readonly timeoutMs?: number;
}

/**
 * One LISTEN connection on the direct URL. Each connection is tested with a notification to itself; one that hears
 * nothing (a pooler in between) is given up and tried again later. Losing it costs latency, never correctness.
 */
export class Listener implements Service {
  readonly name = 'listener';
  readonly #options: ListenerOptions;
  #abort: AbortController | undefined;
  #loop: Promise<void> = Promise.resolve();
  #works = false;

  constructor(options: ListenerOptions) {
    this.#options = options;
  }

  /** Whether notifications arrive now. */
  get works(): boolean {
    return this.#works;
  }

  start(): Promise<void> {
    if (this.#abort === undefined) {
      this.#abort = new AbortController();
      this.#loop = this.#run(this.#abort.signal);
    }
    return Promise.resolve();
  }

  async stop(): Promise<void> {
    this.#abort?.abort();
    this.#abort = undefined;
    await this.#loop;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  /** Why it does not work, as it was told last. */
  #toldReason: string | undefined;

  async #run(signal: AbortSignal): Promise<void> {
    for (let failures = 0; !signal.aborted; failures++) {
      try {
        await this.#listenUntilLost(signal, () => (failures = 0));
        this.#setState(false, signal);
      } catch (error) {
        this.#setState(false, signal, error);
      }
      // Ends early when stopped. Never longer than 3 s: all is well again within 5 s of the database's return.
      await sleep(backoffMs(failures, { firstMs: 500, maxMs: 3000 }), undefined, { signal }).catch(() => undefined);
    }
  }

  async #listenUntilLost(signal: AbortSignal, onWorking: () => void): Promise<void> {
    const { db, directUrl, replicaId, onMessage, timeoutMs = 2000 } = this.#options;
    const probe = `${replicaId} ${performance.now()}`;
    let heardProbe: () => void = () => undefined;
    const probeHeard = new Promise<'heard'>((resolve) => {
      heardProbe = () => resolve('heard');
    });
    await using connection = await listen(
      directUrl,
      (payload) => {
        const message = decode(payload);
        if (message === undefined) return;
        if ('probe' in message) {
          if (message.probe === probe) heardProbe();
        } else if (message.from !== replicaId) onMessage(message);
      },
      { connectTimeoutMs: timeoutMs },
    );
    // One signal for the life of the connection: a race in every round would leave something behind on `closed`.
    const lost = new AbortController();
    void connection.closed.then(() => lost.abort());
    const over = AbortSignal.any([signal, lost.signal]);
    await notify(db, [encodeProbe(replicaId, probe)]);
    const tested = await Promise.race([
      probeHeard,
      sleep(timeoutMs, 'silent' as const, { signal }).catch(() => 'stopped' as const),
    ]);
    if (tested === 'stopped') return;
    if (tested === 'silent') throw new Error('LISTEN hears nothing: is DATABASE_DIRECT_URL a transaction pooler?');
    onWorking();
    this.#setState(true, signal);
    // A peer that vanished without a word is found by asking.
    while (!isAborted(over)) {
      await sleep(10_000, undefined, { signal: over }).catch(() => undefined);
      if (isAborted(over)) return;
      await connection.probe();
    }
  }

  #setState(works: boolean, signal: AbortSignal, error?: unknown): void {
    const changed = this.#works !== works;
    this.#works = works;
    // That it ends with stop() is no news.
    if (signal.aborted) return;
    // Where it never works, as behind a pooler, that is told once, not at every attempt.
    const reason = error instanceof Error ? error.message : undefined;
    const isNews = changed || (error !== undefined && reason !== this.#toldReason);
    if (works) this.#toldReason = undefined;
    else this.#toldReason = reason ?? this.#toldReason;
    if (isNews) this.#options.onState({ works, error });
  }
}
