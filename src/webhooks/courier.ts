import { webhookTimeoutMs } from '../protocol/webhooks.ts';
import type { FeedTail } from '../queues/feed-tail.ts';
import { backoffMs } from '../runtime/backoff.ts';
import type { Clock } from '../runtime/clock.ts';
import { isAborted, Pause } from '../runtime/pause.ts';
import type { Database } from '../store/database.ts';
import type { Term } from '../store/decisions.ts';
import type { EventCursor, EventRow } from '../store/events.ts';
import { failureKind } from '../store/failures.ts';
import { type DeliveryChange, type DueWebhook, readWebhookEvents, recordDelivery } from '../store/webhooks.ts';
import type { WebhookEvent } from './events.ts';
import { nextPage } from './page.ts';
import { send } from './sender.ts';

export interface CourierTiming {
  /** From the connection to the status of the answer. */
  readonly timeoutMs: number;
  /** Between two attempts, at least and at most, unless the receiver asks for longer. */
  readonly retryMinMs: number;
  readonly retryMaxMs: number;
  /** What a receiver may ask for with Retry-After. */
  readonly retryAfterMaxMs: number;
}

export const defaultCourierTiming: CourierTiming = {
  timeoutMs: webhookTimeoutMs,
  retryMinMs: 1000,
  retryMaxMs: 5 * 60_000,
  retryAfterMaxMs: 60 * 60_000,
};

export interface CourierOptions {
  readonly db: Database;
  readonly clock: Clock;
  readonly feedTail: FeedTail;
  readonly term: Term;
  readonly webhook: DueWebhook;
  readonly timing: CourierTiming;
  /** Whatever fails here and is not the receiver's fault; it goes on. */
  readonly onError: (error: unknown) => void;
  readonly onEvent: (event: WebhookEvent) => void;
}

type Position = EventCursor & { readonly at: string };

/** Events that are looked at with one query. */
const scan = 500;
/** What is not for this webhook moves its cursor so often at most. */
const saveSkippedEveryMs = 5000;
/** The end of the feed tells when there is news; this is for what it might miss. */
const lookAgainMs = 30_000;
const databaseRetry = { firstMs: 100, maxMs: 3000 };

/**
 * Carries the feed to one webhook, in order, one request at a time: the next page goes out when the one before has been
 * delivered and written down. Nothing is passed over for having failed.
 */
export class Courier {
  readonly #options: CourierOptions;
  readonly #pause = new Pause();
  #cursor: EventCursor;
  #failures: number;
  /** Read and not delivered, and how far that read looked. */
  #rows: readonly EventRow[] = [];
  #end: Position | undefined;
  /** Passed by and not written down. */
  #skipped: Position | undefined;
  #savedAtMs: number;

  constructor(options: CourierOptions) {
    this.#options = options;
    this.#cursor = options.webhook.cursor;
    this.#failures = options.webhook.failures;
    this.#savedAtMs = options.clock.monotonicMs();
  }

  /**
   * Returns when the signal aborts, or when the webhook is not at this version any more. Throws (SB001) when the term is
   * over.
   */
  async run(signal: AbortSignal): Promise<void> {
    const { feedTail, webhook, onError } = this.#options;
    using seat = feedTail.enter({ queue: undefined, prefix: '' });
    await this.#pause.wait(webhook.dueInMs, signal);
    let databaseFailures = 0;
    while (!isAborted(signal)) {
      try {
        const step = await this.#step(signal);
        databaseFailures = 0;
        if (step === 'over') return;
        if (step === 'idle')
          await seat.wait({ timeoutMs: this.#skipped === undefined ? lookAgainMs : saveSkippedEveryMs, signal });
      } catch (error) {
        if (isAborted(signal)) return;
        if (failureKind(error) === 'deposed') throw error;
        onError(error);
        await this.#pause.wait(backoffMs(databaseFailures++, databaseRetry), signal);
      }
    }
  }

  async #step(signal: AbortSignal): Promise<'again' | 'idle' | 'over'> {
    if (this.#rows.length > 0) return this.#attempt(signal);
    const { db, webhook } = this.#options;
    const { rows, end } = await readWebhookEvents(db, this.#cursor, { ...webhook, scan });
    if (rows.length > 0) {
      this.#rows = rows;
      this.#end = end;
      return 'again';
    }
    if (end !== undefined) this.#cursor = this.#skipped = end;
    if (!(await this.#saveSkipped())) return 'over';
    return end === undefined ? 'idle' : 'again';
  }

  async #saveSkipped(): Promise<boolean> {
    const { clock } = this.#options;
    if (this.#skipped === undefined || clock.monotonicMs() - this.#savedAtMs < saveSkippedEveryMs) return true;
    return this.#record({ cursor: this.#skipped });
  }

  async #attempt(signal: AbortSignal): Promise<'again' | 'over'> {
    const { webhook, timing, onEvent } = this.#options;
    const { name, url, secret } = webhook;
    const { body, count, messageId } = nextPage(name, this.#rows);
    const outcome = await send({ url, secret, messageId, body }, { timeoutMs: timing.timeoutMs, signal });
    const { status } = outcome;
    switch (outcome.kind) {
      case 'delivered': {
        const cursor = this.#behind(count);
        if (!(await this.#recordSurely({ cursor, attempt: { status, error: null } }, signal))) return 'over';
        onEvent({ kind: 'webhook.delivered', webhook: name, events: count, failures: this.#failures });
        this.#failures = 0;
        this.#cursor = cursor;
        this.#rows = this.#rows.slice(count);
        return 'again';
      }
      case 'gone': {
        const change = { attempt: { status, error: outcome.error }, gone: true };
        if (await this.#recordSurely(change, signal)) onEvent({ kind: 'webhook.disabled', webhook: name });
        return 'over';
      }
      case 'failed': {
        const { error, retryAfterMs = 0 } = outcome;
        this.#failures++;
        const retryInMs = Math.ceil(
          Math.max(
            timing.retryMinMs,
            backoffMs(this.#failures - 1, { firstMs: 2 * timing.retryMinMs, maxMs: timing.retryMaxMs }),
            Math.min(retryAfterMs, timing.retryAfterMaxMs),
          ),
        );
        onEvent({ kind: 'webhook.failed', webhook: name, error, failures: this.#failures, retryInMs });
        if (!(await this.#recordSurely({ attempt: { status, error }, retry_after_ms: retryInMs }, signal)))
          return 'over';
        await this.#pause.wait(retryInMs, signal);
        return 'again';
      }
      default:
        return outcome satisfies never;
    }
  }

  /** Where it stands behind the first `count` of its rows; behind the last, all that was looked at is done with. */
  #behind(count: number): Position {
    const last = this.#rows[count - 1];
    if (count === this.#rows.length && this.#end !== undefined) return this.#end;
    if (last === undefined) throw new RangeError(`there are no ${count} events`);
    return { xid: last.cursor_xid, id: last.cursor_id, at: last.happened_at };
  }

  async #record(change: DeliveryChange): Promise<boolean> {
    const { db, term, webhook, clock } = this.#options;
    const isWritten = await recordDelivery(db, term, webhook, change);
    if (change.cursor !== undefined) {
      this.#savedAtMs = clock.monotonicMs();
      this.#skipped = undefined;
    }
    return isWritten;
  }

  /** What was sent is written down before anything else is, however long the database is away: it would be sent again. */
  async #recordSurely(change: DeliveryChange, signal: AbortSignal): Promise<boolean> {
    for (let failures = 0; ; failures++) {
      try {
        return await this.#record(change);
      } catch (error) {
        if (failureKind(error) === 'deposed' || failureKind(error) === 'defect') throw error;
        this.#options.onError(error);
        await this.#pause.wait(backoffMs(failures, databaseRetry), signal);
        signal.throwIfAborted();
      }
    }
  }
}
