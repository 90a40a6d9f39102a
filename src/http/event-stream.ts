import type { CallContext, Coordinator } from '../protocol/coordinator.ts';
import { SignalboxError } from '../protocol/errors.ts';
import type { Event, EventPage, EventsRequest } from '../protocol/events.ts';
import { jittered } from '../runtime/backoff.ts';

export const eventStreamMediaType = 'text/event-stream';

/** Shorter than what balancers and our own sockets take for silence. */
const heartbeatMs = 15_000;

/** How long a client should wait before it comes back; jittered, so that a restart does not bring all at once. */
const retryMs = 3000;

/** One event of the feed in the form of https://html.spec.whatwg.org/multipage/server-sent-events.html. */
function messageOf(event: Event): string {
  return `id: ${event.id}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`;
}

export interface EventStreamOptions {
  readonly coordinator: Pick<Coordinator, 'readEvents'>;
  readonly request: Omit<EventsRequest, 'waitMs'>;
  readonly context: CallContext;
  readonly nowMs: () => number;
  /** Throws when the caller may no longer read: asked again with every page, since a stream has no end of its own. */
  readonly authorise: () => void;
}

/**
 * The feed as text of an event stream, from behind `request.after`, until the client goes, the replica stops, or the caller
 * may no longer read. A database that is away ends it too: the client comes back with the id of the last event it has.
 * `first` is the page that was read before the answer began, so that a refusal can still be one.
 */
export async function* eventStream(
  { coordinator, request, context, nowMs, authorise }: EventStreamOptions,
  first: EventPage,
): AsyncGenerator<string> {
  yield `retry: ${Math.round(jittered(retryMs, 0.6))}\n\n`;
  let page = first;
  while (!context.signal.aborted) {
    for (const event of page.events) yield messageOf(event);
    if (page.events.length === 0) yield ': still here\n\n';
    try {
      authorise();
      page = await coordinator.readEvents(
        { ...request, after: page.next_after, waitMs: heartbeatMs },
        { receivedAtMs: nowMs(), signal: context.signal },
      );
    } catch (error) {
      if (error instanceof SignalboxError) return;
      throw error;
    }
  }
}
