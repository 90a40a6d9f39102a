import type { CallContext } from '../protocol/coordinator.ts';
import { SignalboxError } from '../protocol/errors.ts';
import type { Event, EventPage, EventsRequest } from '../protocol/events.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Database } from '../store/database.ts';
import { type EventCursor, type EventRow, oldestEvent, readEvents } from '../store/events.ts';
import { databaseProblem } from './database-problem.ts';
import type { FeedTail } from './feed-tail.ts';

export interface FeedOptions {
  readonly db: Database;
  readonly clock: Clock;
  readonly feedTail: FeedTail;
}

/**
 * The next page of the feed, or an empty one after `waitMs`. Every event is in exactly one page of a reader that goes on
 * behind the last id it saw, also when it committed late. Throws `invalid_request` for an id that is none of ours.
 */
export async function readFeed(
  { db, clock, feedTail }: FeedOptions,
  request: EventsRequest,
  context: CallContext,
): Promise<EventPage> {
  const after = request.after === undefined ? oldestEvent : cursorOf(request.after);
  const untilMs = context.receivedAtMs + request.waitMs;
  using seat = request.waitMs > 0 ? feedTail.enter(request) : undefined;
  for (;;) {
    const rows = await readEvents(db, after, request).catch((error: unknown) => {
      throw databaseProblem(error);
    });
    const leftMs = untilMs - clock.monotonicMs();
    if (rows.length > 0 || seat === undefined || leftMs <= 0 || context.signal.aborted)
      return { events: rows.map(eventOf) };
    // Ends early when the client hangs up or the replica stops: then what there is, is the answer.
    await seat.wait({ timeoutMs: leftMs, signal: context.signal });
  }
}

function eventOf({ cursor_xid: xid, cursor_id: id, happened_at: at, type, queue, claim_id, data }: EventRow): Event {
  return { ...data, id: `${xid}.${id}`, type, queue, claim_id, at } as Event;
}

function cursorOf(id: string): EventCursor {
  const match = /^(\d{1,19})\.(\d{1,18})$/.exec(id);
  if (match?.[1] === undefined || match[2] === undefined) {
    const message = 'is not the id of an event';
    throw new SignalboxError('invalid_request', {
      detail: `after ${message}`,
      extra: { errors: [{ in: 'query', path: '/after', message }] },
    });
  }
  return { xid: match[1], id: match[2] };
}
