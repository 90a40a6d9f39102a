import type { CallContext } from '../protocol/coordinator.ts';
import { SignalboxError } from '../protocol/errors.ts';
import { type Event, type EventPage, type EventsRequest, newestEventId } from '../protocol/events.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Database } from '../store/database.ts';
import { type EventCursor, type EventRow, newestEvent, oldestEvent, readEvents, readStretch } from '../store/events.ts';
import { withProblems } from './database-problem.ts';
import type { FeedTail } from './feed-tail.ts';

export interface FeedOptions {
  readonly db: Database;
  readonly clock: Clock;
  readonly feedTail: FeedTail;
}

/** Events that one look may pass over, some 20 ms of work. */
const eventsPerLook = 20_000;
/** How long a call looks at most for the first event that its filter lets through; then the next page goes on from there. */
const lookMsMax = 2000;

/**
 * The next page of the feed, or an empty one after `waitMs`. Every event is in exactly one page of a reader that goes on
 * behind the last id it saw, also when it committed late. Throws `invalid_request` for an id that is none of ours.
 */
export async function readFeed(
  { db, clock, feedTail }: FeedOptions,
  request: EventsRequest,
  context: CallContext,
): Promise<EventPage> {
  let after = await withProblems(() => startOf(db, request.after));
  const untilMs = context.receivedAtMs + request.waitMs;
  using seat = request.waitMs > 0 ? feedTail.enter(request) : undefined;
  for (;;) {
    const looked = await withProblems(() => lookBehind(db, after, request));
    after = looked.seen;
    const leftMs = untilMs - clock.monotonicMs();
    if (looked.rows.length > 0 || context.signal.aborted) return pageOf(looked.rows, after);
    if (looked.isMore && clock.monotonicMs() - context.receivedAtMs < lookMsMax) continue;
    if (looked.isMore || seat === undefined || leftMs <= 0) return pageOf([], after);
    // Ends early when the client hangs up or the replica stops: then what there is, is the answer.
    await seat.wait({ timeoutMs: leftMs, signal: context.signal });
  }
}

/**
 * One look at the next events. Of those that a filter leaves out at most `eventsPerLook` are passed over at a time, and the
 * reader goes on behind them: else it would pass over them again with every page, and one day take too long to do so.
 */
async function lookBehind(
  db: Database,
  after: EventCursor,
  request: EventsRequest,
): Promise<{ readonly rows: readonly EventRow[]; readonly seen: EventCursor; readonly isMore: boolean }> {
  if (request.queue === undefined && request.prefix === '' && request.labels === undefined) {
    return { rows: await readEvents(db, after, request), seen: after, isMore: false };
  }
  const { rows, until, isMore } = await readStretch(db, after, request, eventsPerLook);
  // A cursor may be ahead of all there is.
  return { rows, seen: until !== undefined && isBefore(after, until) ? until : after, isMore };
}

function isBefore(one: EventCursor, other: EventCursor): boolean {
  const [a, b] = [BigInt(one.xid), BigInt(other.xid)];
  return a < b || (a === b && BigInt(one.id) < BigInt(other.id));
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
