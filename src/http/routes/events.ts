import { Readable } from 'node:stream';
import { z } from 'zod';
import { type Gatekeeper, QueuePrefix } from '../../protocol/access.ts';
import { WaitMs } from '../../protocol/claims.ts';
import type { Coordinator } from '../../protocol/coordinator.ts';
import { EventPage, newestEventId } from '../../protocol/events.ts';
import { QueueName, plainText } from '../../protocol/ids.ts';
import { SignalboxError } from '../../protocol/errors.ts';
import type { Clock } from '../../runtime/clock.ts';
import { authorise, visiblePrefix } from '../authorization.ts';
import { type LongPolls, openCall } from '../call-context.ts';
import { eventStream, eventStreamMediaType } from '../event-stream.ts';
import { type HttpApp, databaseErrors } from '../operation.ts';
import { inDigits } from '../parameters.ts';

/** A label as one text: its name, =, its value. Names that hold a = cannot be asked for. */
const LabelFilter = plainText(264).regex(/^[^=]{1,63}=.{0,200}$/u, 'must be name=value');

const EventsQuery = z.strictObject({
  after: z.string().min(1).max(100).optional().meta({
    description: 'Id of the last event seen, or newest = behind all that is there; absent = from the oldest kept.',
  }),
  queue: QueueName.optional().meta({ description: 'Only events of this queue.' }),
  prefix: QueuePrefix.default('').meta({ description: 'Only events of queues whose name begins so.' }),
  label: z
    .preprocess((value) => (typeof value === 'string' ? [value] : value), z.array(LabelFilter).min(1).max(8))
    .optional()
    .meta({ description: 'name=value: only events of claims with this label; may be given several times, all count.' }),
  limit: inDigits(z.int().min(1).max(1000)).default(100).meta({ description: 'Events on a page.' }),
  wait_ms: inDigits(WaitMs).default(0),
});

function labelsOf(filters: readonly string[] | undefined): Readonly<Record<string, string>> | undefined {
  return filters && Object.fromEntries(filters.map((filter) => splitAt(filter, filter.indexOf('='))));
}

function splitAt(text: string, at: number): [string, string] {
  return [text.slice(0, at), text.slice(at + 1)];
}

export interface EventRouteOptions {
  readonly coordinator: Coordinator;
  readonly longPolls: LongPolls;
  readonly clock: Clock;
  readonly gatekeeper: Gatekeeper;
}

/** The feed: what happened, in order, nothing left out. */
export function eventRoutes(app: HttpApp, { coordinator, longPolls, clock, gatekeeper }: EventRouteOptions): void {
  app.get(
    '/v1/events',
    {
      schema: { querystring: EventsQuery, response: { 200: EventPage } },
      config: {
        operation: {
          id: 'readEvents',
          summary:
            'What happened, in order, behind a cursor; waits up to wait_ms for the first event. With Accept: text/event-stream it goes on as server-sent events.',
          tag: 'orchestrator',
          needs: { scope: 'read', queues: 'listed' },
          errors: [...databaseErrors],
        },
      },
    },
    async (request, reply) => {
      const { queue, limit, wait_ms: waitMs } = request.query;
      const labels = labelsOf(request.query.label);
      const wantsStream = acceptsEventStream(request.headers.accept);
      const after = (wantsStream ? lastEventId(request.headers['last-event-id']) : undefined) ?? request.query.after;
      const prefix = visiblePrefix(request.caller, request.query.prefix);
      if (!wantsStream) {
        // The caller sees none of these queues: where to read on makes no difference.
        if (prefix === undefined) return { events: [], next_after: after ?? newestEventId };
        const context = openCall(request, reply, { waitMs, longPolls });
        return coordinator.readEvents({ after, queue, prefix, labels, limit, waitMs }, context);
      }
      if (prefix === undefined)
        throw new SignalboxError('forbidden', { detail: 'This token sees none of these queues.' });
      // A stream is a wait without an end.
      const context = openCall(request, reply, { waitMs: Infinity, longPolls });
      const page = { after, queue, prefix, labels, limit };
      const first = await coordinator.readEvents({ ...page, waitMs: 0 }, context);
      const stream = eventStream(
        {
          coordinator,
          request: page,
          context,
          nowMs: () => clock.monotonicMs(),
          authorise: () => void authorise(request, gatekeeper),
        },
        first,
      );
      return (
        reply
          .header('content-type', eventStreamMediaType)
          .header('x-accel-buffering', 'no')
          // Its connection ends with it: kept open, it would keep a stopping replica waiting.
          .header('connection', 'close')
          .send(Readable.from(stream) as never)
      );
    },
  );
}

/** Only who names the type gets a stream: that everything is accepted is what every client says. */
function acceptsEventStream(accept: string | undefined): boolean {
  return accept?.split(',').some((type) => type.split(';')[0]?.trim().toLowerCase() === eventStreamMediaType) === true;
}

/** What a browser sends when it comes back to a stream. */
function lastEventId(header: string | string[] | undefined): string | undefined {
  return typeof header === 'string' && header !== '' ? header : undefined;
}
