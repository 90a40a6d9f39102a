import type { Clock } from '../../runtime/clock.ts';
import type { SignalboxClient } from '../client.ts';
import type { HeldRun } from './held-run.ts';

export interface RenewalsOptions {
  readonly client: SignalboxClient;
  readonly holder: string;
  readonly clock: Clock;
  /** Told of every attempt that failed; the next one is already planned. */
  readonly onError: (error: unknown) => void;
}

/**
 * Renews the leases of all runs at work, all of them in one call: when the first of them is due, a third of its ttl after
 * its last good renewal was sent, and then again every twelfth, without waiting for attempts under way: one that hangs
 * costs nothing. A late run is still renewed while its handler stops, so that nobody else works on it meanwhile.
 */
export class Renewals {
  readonly #options: RenewalsOptions;
  readonly #held = new Set<HeldRun>();
  readonly #underWay = new Set<Promise<void>>();
  #abort = new AbortController();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: RenewalsOptions) {
    this.#options = options;
  }

  add(held: HeldRun): void {
    this.#held.add(held);
    this.#arm();
  }

  delete(held: HeldRun): void {
    this.#held.delete(held);
    this.#arm();
  }

  /** Breaks off what is under way, once nothing is held any more. */
  async settle(): Promise<void> {
    this.#abort.abort();
    this.#abort = new AbortController();
    await Promise.all(this.#underWay);
  }

  #arm(): void {
    clearTimeout(this.#timer);
    if (this.#held.size === 0) return;
    let dueAtMs = Infinity;
    for (const { renewAtMs } of this.#held) dueAtMs = Math.min(dueAtMs, renewAtMs);
    this.#timer = setTimeout(
      () => {
        const attempt = this.#renewAll().finally(() => this.#underWay.delete(attempt));
        this.#underWay.add(attempt);
        this.#arm();
      },
      Math.max(0, dueAtMs - this.#options.clock.monotonicMs()),
    );
  }

  async #renewAll(): Promise<void> {
    const { client, holder, clock, onError } = this.#options;
    const { signal } = this.#abort;
    const byToken = new Map([...this.#held].map((held) => [tokenKey(held.run), held]));
    const asked = [...byToken.values()];
    let sentAtMs = clock.monotonicMs();
    for (const held of asked) held.renewalSent(sentAtMs);
    const ttlMs = Math.min(...asked.map(({ run }) => run.ttl_ms));
    try {
      const answer = await client.renewHeld(
        holder,
        asked.map(({ run }) => run),
        {
          signal,
          onSend: (atMs) => (sentAtMs = atMs),
          timeoutMs: Math.ceil(Math.max(500, Math.min(ttlMs / 3, 10_000))),
          retry: { attempts: 1 },
        },
      );
      for (const lease of answer.claims) byToken.get(tokenKey(lease))?.renewed(sentAtMs, lease);
      for (const lease of answer.lost) byToken.get(tokenKey(lease))?.lose(lease.reason ?? lease.code);
      this.#arm();
    } catch (error) {
      if (!signal.aborted) onError(error);
    }
  }
}

/** A token is unique within its queue, and no name contains a space. */
function tokenKey(lease: { readonly queue: string; readonly fencing_token: number }): string {
  return `${lease.queue} ${lease.fencing_token}`;
}
