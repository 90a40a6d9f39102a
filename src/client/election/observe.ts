import type { QueueDetail } from '../../protocol/queues.ts';
import { SignalboxError } from '../../protocol/errors.ts';
import { backoffMs, jittered } from '../../runtime/backoff.ts';
import { systemClock } from '../../runtime/clock.ts';
import { isAborted, Pause } from '../../runtime/pause.ts';
import { isTransient } from '../answer.ts';
import type { SignalboxClient } from '../client.ts';
import type { ElectionName } from './campaign.ts';

export type ObserveOptions = ElectionName & {
  /** How often it asks (ms, 500; jittered). */
  readonly pollMs?: number | undefined;
  /** Without an answer for so long (ms, 5000) it says that it does not know. */
  readonly staleMs?: number | undefined;
  /** Ends the stream. */
  readonly signal?: AbortSignal | undefined;
};

export interface Leader {
  readonly holder: string;
  readonly term: number;
  readonly claimId: string;
  /** By the database's clock, RFC 3339; `expiresAt` moves on with every renewal. */
  readonly acquiredAt: string;
  readonly expiresAt: string;
  /** `expiresAt` on this process's monotonic clock (`performance.now()`), a little early rather than late. */
  readonly untilMs: number;
}

/** Who leads, as far as the service says. */
export type Observation =
  | { readonly kind: 'led'; readonly election: string; readonly leader: Leader }
  | { readonly kind: 'nobody'; readonly election: string }
  /** The service has not answered for `staleMs`: the last observation may be wrong by now. */
  | { readonly kind: 'unknown'; readonly election: string; readonly error: Error };

/** How often the whole is read although nothing seems to have changed (ms). */
const fullLookEveryMs = 5000;

/*
 * It polls, because nothing that could wake it keeps the promise below. The feed waits for the oldest transaction of the
 * server, so a change may be in it minutes late, and replicas look for news of it every half second, no sooner than we ask.
 * A long-poll of the leader's claim tells nothing of who comes next, and is not for tokens of scope `read`.
 */

/**
 * Tells who leads: at once, and then every change within about `pollMs`. Only looks: it stands in no line, and a token of
 * scope `read` will do.
 *
 *  - Terms only grow; each is told once, and again only after `unknown`. What is told to be over stays over, also if its
 *    leader is heard again late.
 *  - A term shorter than `pollMs` may be passed over, and so may all that happens while the reader does not ask for the
 *    next observation. The feed (`GET /v1/events`) has every one.
 *  - `led` says that the lease is good until `untilMs`, if nothing ends it before; its leader stops a third of its ttl before.
 *  - Outages are survived: `unknown` is told once, and what is known again after it. What the service refuses is thrown.
 */
export async function* observe(
  client: SignalboxClient,
  options: ObserveOptions,
): AsyncGenerator<Observation, undefined, undefined> {
  const { pollMs = 500, staleMs = 5000, signal = new AbortController().signal } = options;
  const look = new ElectionLook(client, options.election ?? options.queue);
  let told: Observation | undefined;
  let [failures, answeredAtMs] = [0, systemClock.monotonicMs()];
  while (!isAborted(signal)) {
    const askedAtMs = systemClock.monotonicMs();
    const leftMs = answeredAtMs + staleMs - askedAtMs;
    try {
      const seen = await look.now({ signal, timeoutMs: Math.ceil(Math.max(250, Math.min(2000, leftMs))) });
      [failures, answeredAtMs] = [0, askedAtMs];
      if (told === undefined || !isSame(told, seen)) yield (told = seen);
    } catch (error) {
      if (isAborted(signal)) return;
      if (!isTransient(error)) throw error;
      if (systemClock.monotonicMs() - answeredAtMs >= staleMs && told?.kind !== 'unknown')
        yield (told = { kind: 'unknown', election: look.election, error });
      failures++;
    }
    const pauseMs = failures === 0 ? jittered(pollMs) : backoffMs(failures, { firstMs: 100, maxMs: 1000 });
    await new Pause().wait(pauseMs, signal);
  }
}

function isSame(a: Observation, b: Observation): boolean {
  if (a.kind === 'led' && b.kind === 'led') return a.leader.term === b.leader.term;
  return a.kind === b.kind;
}

interface LookOptions {
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
}

/** Asks cheaply whether the newest term is still the one it knows, and reads the queue when it is not. */
class ElectionLook {
  readonly election: string;
  readonly #client: SignalboxClient;
  #seen: Extract<Observation, { kind: 'led' | 'nobody' }>;
  /** The newest term, and whether it is over. */
  #newest = { term: 0, isOver: true };
  #readAtMs = -Infinity;

  constructor(client: SignalboxClient, election: string) {
    this.election = election;
    this.#client = client;
    this.#seen = { kind: 'nobody', election };
  }

  async now({ signal, timeoutMs }: LookOptions): Promise<Observation> {
    const options = { signal, timeoutMs, retry: { attempts: 1 } };
    const askedAtMs = systemClock.monotonicMs();
    try {
      if (askedAtMs - this.#readAtMs < fullLookEveryMs && this.#newest.term > 0) {
        const check = await this.#client.checkToken(this.election, this.#newest.term, 1, options);
        if (check.newest_token === this.#newest.term && (check.current || this.#newest.isOver)) return this.#seen;
      }
      const readAtMs = systemClock.monotonicMs();
      this.#take(await this.#client.getQueue(this.election, options), readAtMs);
    } catch (error) {
      // Nobody has ever stood, or its queue is deleted.
      if (!(error instanceof SignalboxError && error.code === 'queue_not_found')) throw error;
      this.#takeNobody();
    }
    return this.#seen;
  }

  #take({ holders }: QueueDetail, readAtMs: number): void {
    this.#readAtMs = readAtMs;
    const holder = holders.find(({ slot }) => slot === 1);
    const isOld =
      holder !== undefined &&
      (holder.fencing_token < this.#newest.term || (holder.fencing_token === this.#newest.term && this.#newest.isOver));
    if (holder === undefined || holder.expired || isOld) {
      this.#takeNobody();
      return;
    }
    this.#newest = { term: holder.fencing_token, isOver: false };
    this.#seen = {
      kind: 'led',
      election: this.election,
      leader: {
        holder: holder.holder,
        term: holder.fencing_token,
        claimId: holder.claim_id,
        acquiredAt: holder.acquired_at,
        expiresAt: holder.expires_at,
        untilMs: readAtMs + holder.ttl_remaining_ms,
      },
    };
  }

  #takeNobody(): void {
    this.#newest = { ...this.#newest, isOver: true };
    this.#seen = { kind: 'nobody', election: this.election };
  }
}
