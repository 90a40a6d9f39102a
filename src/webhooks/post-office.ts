import type { FeedTail } from '../queues/feed-tail.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Service } from '../runtime/service.ts';
import { Ticker } from '../runtime/ticker.ts';
import type { Database } from '../store/database.ts';
import type { Term } from '../store/decisions.ts';
import { failureKind } from '../store/failures.ts';
import { type DueWebhook, readDueWebhooks } from '../store/webhooks.ts';
import { Courier, type CourierTiming, defaultCourierTiming } from './courier.ts';
import type { WebhookEvent } from './events.ts';

export interface PostOfficeOptions {
  readonly db: Database;
  readonly clock: Clock;
  readonly feedTail: FeedTail;
  readonly term: Term;
  /** A write was refused because somebody else leads. Ends the term, and with it this service. */
  readonly reportDeposed: (error: unknown) => void;
  readonly onError: (error: unknown) => void;
  readonly onEvent: (event: WebhookEvent) => void;
  readonly timing?: Partial<CourierTiming>;
  /** How soon a changed webhook is seen. */
  readonly everyMs?: number;
}

interface Round {
  readonly version: number;
  readonly abort: AbortController;
  readonly ended: Promise<void>;
}

/**
 * Has a courier under way for each webhook that is on, for one term; so one that hangs holds up no other, nor any chore. A
 * changed webhook gets a new courier, which begins where the cursor is. Stopping gives up what is on its way: the next
 * leader sends it again.
 */
export class PostOffice implements Service {
  readonly name = 'webhooks';
  readonly #options: PostOfficeOptions;
  readonly #ticker: Ticker;
  readonly #rounds = new Map<string, Round>();
  #isOpen = false;
  /** Somebody else leads, so nothing more goes out from here, also before the term has been told. */
  #isDeposed = false;

  constructor(options: PostOfficeOptions) {
    this.#options = options;
    this.#ticker = new Ticker({
      name: this.name,
      periodMs: options.everyMs ?? 1000,
      firstDelayMs: 0,
      runOnce: ({ signal }) => this.#look(signal),
      onError: options.onError,
    });
  }

  start(): Promise<void> {
    this.#isOpen = true;
    return this.#ticker.start();
  }

  async stop(): Promise<void> {
    const wasOpen = this.#isOpen;
    this.#isOpen = false;
    for (const { abort } of this.#rounds.values()) abort.abort();
    await this.#ticker.stop();
    const left = [...this.#rounds.values()];
    for (const { abort } of left) abort.abort();
    await Promise.all(left.map(({ ended }) => ended));
    if (wasOpen) this.#options.onEvent({ kind: 'webhook.lags', lags: [] });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #look(signal: AbortSignal): Promise<undefined> {
    const webhooks = await readDueWebhooks(this.#options.db);
    if (signal.aborted || this.#isDeposed) return undefined;
    const on = webhooks.filter(({ enabled }) => enabled);
    this.#options.onEvent({ kind: 'webhook.lags', lags: on.map(({ name, lagMs }) => ({ webhook: name, lagMs })) });
    for (const [name, { version, abort }] of this.#rounds)
      if (!on.some((webhook) => webhook.name === name && webhook.version === version)) abort.abort();
    for (const webhook of on) if (!this.#rounds.has(webhook.name)) this.#sendOut(webhook);
    return undefined;
  }

  #sendOut(webhook: DueWebhook): void {
    const { timing, reportDeposed, ...options } = this.#options;
    const courier = new Courier({ ...options, webhook, timing: { ...defaultCourierTiming, ...timing } });
    const abort = new AbortController();
    const ended = courier
      .run(abort.signal)
      .catch((error: unknown) => {
        if (failureKind(error) !== 'deposed') options.onError(error);
        else {
          this.#isDeposed = true;
          for (const round of this.#rounds.values()) round.abort.abort();
          reportDeposed(error);
        }
      })
      .finally(() => this.#rounds.delete(webhook.name));
    this.#rounds.set(webhook.name, { version: webhook.version, abort, ended });
  }
}
