import { setImmediate as nextTurn } from 'node:timers/promises';
import { type ErrorCode, errorCatalogue } from '../../protocol/errors.ts';
import { claimsPerCallMax, type LeaseEnded } from '../../protocol/runs.ts';
import { backoffMs } from '../../runtime/backoff.ts';
import type { Clock } from '../../runtime/clock.ts';
import { Pause } from '../../runtime/pause.ts';
import type { SignalboxClient } from '../client.ts';
import type { LeaseEnding } from '../requests.ts';
import type { HeldRun } from './held-run.ts';
import type { RunEnding } from './outcomes.ts';

/** The run is closed; its lease still is what `held` knew last. */
export interface EndedRun {
  readonly held: HeldRun;
  readonly ending: RunEnding;
}

/** Where the service has put the run; absent if only the answer to a repeat says that it took the report. */
export type EndedState = 'released' | 'waiting' | 'delayed' | 'dead' | 'superseded';

export interface EndingsOptions {
  readonly client: SignalboxClient;
  readonly holder: string;
  readonly clock: Clock;
  readonly onEnded: (ended: EndedRun, state: EndedState | undefined, dueAt: string | undefined) => void;
  /** The report came too late, or could not be made. */
  readonly onLost: (ended: EndedRun, reason: string) => void;
  /** Told of every call that failed; the next one is already planned. */
  readonly onError: (error: unknown) => void;
}

/** What the endings of one call may come to as JSON, in bytes; the service takes 1 MiB. */
const bytesPerCallMax = 900_000;

/**
 * Reports how runs ended, one call at a time: what ends within one turn, or while a call is under way, goes out together.
 * A failed call is repeated with backoff until the lease of each of its runs is over. A repeat is safe: a token that is
 * released already answers so.
 */
export class Endings {
  readonly #options: EndingsOptions;
  readonly #pause = new Pause();
  #waiting: EndedRun[] = [];
  #abort = new AbortController();
  #sending: Promise<void> | undefined;

  constructor(options: EndingsOptions) {
    this.#options = options;
  }

  add(ended: EndedRun): void {
    this.#waiting.push(ended);
    this.#sending ??= this.#send();
  }

  /** Resolves when everything is reported; what is not after `ms` is given up. */
  async settle(ms: number): Promise<void> {
    const giveUp = setTimeout(() => this.#abort.abort(), ms);
    await this.#sending;
    clearTimeout(giveUp);
    this.#abort = new AbortController();
  }

  async #send(): Promise<void> {
    const { signal } = this.#abort;
    let failures = 0;
    await nextTurn();
    for (let batch = this.#nextBatch(); batch.length > 0; batch = this.#nextBatch()) {
      if (signal.aborted) {
        this.#giveUp(() => true, 'not_reported');
        break;
      }
      const isSent = await this.#sendBatch(batch, signal);
      failures = isSent ? 0 : failures + 1;
      if (!isSent) await this.#pause.wait(backoffMs(failures - 1, { firstMs: 100, maxMs: 2000 }), signal);
    }
    // In the step that has seen nothing left: whatever is added next starts sending again.
    this.#sending = undefined;
  }

  /** The first of those waiting whose leases are not over, as many as one call takes. */
  #nextBatch(): EndedRun[] {
    const nowMs = this.#options.clock.monotonicMs();
    this.#giveUp(({ held }) => held.window.endsAtMs <= nowMs, 'no_renewal');
    let bytes = 0;
    const tooMany = this.#waiting.findIndex((ended, index) => {
      bytes += Buffer.byteLength(JSON.stringify(bodyOf(ended))) + 1;
      return index > 0 && (index >= claimsPerCallMax || bytes > bytesPerCallMax);
    });
    return tooMany < 0 ? [...this.#waiting] : this.#waiting.slice(0, tooMany);
  }

  async #sendBatch(batch: readonly EndedRun[], signal: AbortSignal): Promise<boolean> {
    const { client, holder, onError } = this.#options;
    const ttlMs = Math.min(...batch.map(({ held }) => held.run.ttl_ms));
    try {
      const results = await client.releaseHeld(holder, batch.map(bodyOf), {
        signal,
        timeoutMs: Math.ceil(Math.max(500, Math.min(ttlMs / 3, 10_000))),
        retry: { attempts: 1 },
      });
      const unsettled = batch.filter((ended, index) => !this.#settleOne(ended, results[index]));
      this.#waiting = [...unsettled, ...this.#waiting.slice(batch.length)];
      return unsettled.length === 0;
    } catch (error) {
      if (!signal.aborted) onError(error);
      return false;
    }
  }

  /** false: the service could not say; to be repeated. */
  #settleOne(ended: EndedRun, result: LeaseEnded | undefined): boolean {
    const { onEnded, onLost } = this.#options;
    if (result === undefined) return false;
    if (result.released) onEnded(ended, result.state, result.due_at);
    // This token was released before, and nobody else has it: an earlier call got through, its answer did not.
    else if ('reason' in result && result.reason === 'released') onEnded(ended, undefined, undefined);
    else if ('reason' in result) onLost(ended, result.reason);
    else if (isTransientCode(result.code)) return false;
    else onLost(ended, result.code);
    return true;
  }

  #giveUp(isOver: (ended: EndedRun) => boolean, reason: string): void {
    const over = this.#waiting.filter(isOver);
    if (over.length === 0) return;
    this.#waiting = this.#waiting.filter((ended) => !isOver(ended));
    for (const ended of over) this.#options.onLost(ended, reason);
  }
}

function bodyOf({ held, ending }: EndedRun): LeaseEnding {
  const { queue, claim_id, fencing_token } = held.run;
  const { outcome, retryAfterMs, uncounted, error } = ending;
  return { queue, claim_id, fencing_token, outcome, retry_after_ms: retryAfterMs, uncounted, error };
}

function isTransientCode(code: string): boolean {
  return Object.hasOwn(errorCatalogue, code) && errorCatalogue[code as ErrorCode].status >= 500;
}
