import type { CallContext } from '../protocol/coordinator.ts';
import { SignalboxError } from '../protocol/errors.ts';
import { type Event, type EventPage, type EventsRequest, newestEventId } from '../protocol/events.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Database } from '../store/database.ts';
import { type EventCursor, type EventRow, newestEvent, oldestEvent, readEvents } from '../store/events.ts';
import { withProblems } from './database-problem.ts';
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
  const after = await withProblems(() => startOf(db, request.after));
  const untilMs = context.receivedAtMs + request.waitMs;
  using seat = request.waitMs > 0 ? feedTail.enter(request) : undefined;
  for (;;) {
    const rows = await withProblems(() => readEvents(db, after, request));
    const leftMs = untilMs - clock.monotonicMs();
    if (rows.length > 0 || seat === undefined || leftMs <= 0 || context.signal.aborted) return pageOf(rows, after);
    // Ends early when the client hangs up or the replica stops: then what there is, is the answer.
    await seat.wait({ timeoutMs: leftMs, signal: context.signal });
  }
}

/** Where a reader begins. */
async function startOf(db: Database, after: string | undefined): Promise<EventCursor> {
  if (after === undefined) return oldestEvent;
  return after === newestEventId ? newestEvent(db) : cursorOf(after);
}

function idOf({ xid, id }: EventCursor): string {
  return `${xid}.${id}`;
}

function pageOf(rows: readonly EventRow[], after: EventCursor): EventPage {
  const events = rows.map(eventOf);
  return { events, next_after: events.at(-1)?.id ?? idOf(after) };
}

/** An event as the feed shows it. */
export function eventOf({
  cursor_xid: xid,
  cursor_id: id,
  happened_at: at,
  type,
  queue,
  claim_id,
  data,
}: EventRow): Event {
  return { ...data, id: idOf({ xid, id }), type, queue, claim_id, at } as Event;
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
