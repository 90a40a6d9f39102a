import { type Event, type EventPage, newestEventId } from '../protocol/events.ts';
import { backoffMs, jittered } from '../runtime/backoff.ts';
import { systemClock } from '../runtime/clock.ts';
import { isAborted, Pause } from '../runtime/pause.ts';
import { type CallError, isTransient } from './answer.ts';
import type { CallOptions, HttpCall } from './http-calls.ts';
import { withQuery } from './paths.ts';
import type { EventsRequest } from './requests.ts';

/**
 * The call that asks for one page of the feed. Throws a TypeError for a label whose name has an = in it: the service would take
 * it for another one.
 */
export function eventsCall({ after, queue, prefix, labels, limit, wait_ms: waitMs }: EventsRequest): HttpCall {
  const label = Object.entries(labels ?? {}).map(([name, value]) => {
    if (name.includes('='))
      throw new TypeError(`events cannot be asked for by the label ${name}: it has an = in its name`);
    return `${name}=${value}`;
  });
  const path = withQuery('v1/events', { after, queue, prefix, label, limit, wait_ms: waitMs });
  return { method: 'GET', path, waitMs: waitMs ?? 0 };
}

export interface EventFeedOptions extends Pick<EventsRequest, 'after' | 'queue' | 'prefix' | 'labels'> {
  /** Ends the stream. */
  readonly signal?: AbortSignal | undefined;
  /** How long one call waits for news (ms, 20000; up to 60000). */
  readonly pollMs?: number | undefined;
  /** Told of each call that failed before it is tried again. */
  readonly onUnreachable?: ((error: CallError) => void) | undefined;
}

/** Between two calls that were answered at once with nothing: by a replica that stops, or to a token that sees no such queue. */
const idlePauseMs = 1000;

/**
 * The feed from a cursor on, as an async iterable: `for await (const event of feed)`. Promised: each event once and in order,
 * none left out, across outages of the service and of the connection. Not promised: that events are told at once; the feed
 * waits for the oldest transaction of its database.
 *
 * It ends when the signal aborts, and does not throw then; what the service refuses is thrown (`SignalboxError`). Ended by
 * `break` or an error, it can be iterated again and goes on behind `cursor`. One reader at a time.
 */
export class EventFeed implements AsyncIterable<Event> {
  readonly #read: (request: EventsRequest, options: CallOptions) => Promise<EventPage>;
  readonly #options: EventFeedOptions;
  #cursor: string | undefined;

  constructor(
    read: (request: EventsRequest, options: CallOptions) => Promise<EventPage>,
    options: EventFeedOptions = {},
  ) {
    this.#read = read;
    this.#options = options;
    this.#cursor = options.after;
  }

  /**
   * What goes into `after` to read on behind the event that was given last, in another process too: keep it when you are done
   * with that event. Behind events that the filter leaves out it moves on between two of those it lets through. What `after`
   * was, until the service has answered once.
   */
  get cursor(): string | undefined {
    return this.#cursor;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Event, undefined, undefined> {
    const { signal = new AbortController().signal, onUnreachable } = this.#options;
    for (let failures = 0; !isAborted(signal);) {
      const [after, askedAtMs] = [this.#cursor, systemClock.monotonicMs()];
      let page: EventPage;
      try {
        page = await this.#page(signal);
        failures = 0;
      } catch (error) {
        if (isAborted(signal)) return;
        if (!isTransient(error)) throw error;
        onUnreachable?.(error);
        const askedMs = 'retryAfterMs' in error ? (error.retryAfterMs ?? 0) : 0;
        await new Pause().wait(Math.max(askedMs, backoffMs(failures++, { firstMs: 100, maxMs: 2000 })), signal);
        continue;
      }
      for (const event of page.events) {
        if (isAborted(signal)) return;
        this.#cursor = event.id;
        yield event;
      }
      this.#cursor = page.next_after;
      const isIdle = page.events.length === 0 && page.next_after === after;
      if (isIdle && systemClock.monotonicMs() - askedAtMs < idlePauseMs)
        await new Pause().wait(jittered(idlePauseMs), signal);
    }
  }

  #page(signal: AbortSignal): Promise<EventPage> {
    const { queue, prefix, labels, pollMs = 20_000 } = this.#options;
    // Where the newest is must be known before anything is waited for: asked again after a lost answer, it would be elsewhere.
    const waitMs = this.#cursor === newestEventId ? 0 : pollMs;
    const request = { after: this.#cursor, queue, prefix, labels, wait_ms: waitMs };
    return this.#read(request, { signal, retry: { attempts: 1 } });
  }
}
