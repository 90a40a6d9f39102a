import { z } from 'zod';
import { QueuePrefix } from '../../protocol/access.ts';
import { WaitMs } from '../../protocol/claims.ts';
import type { Coordinator } from '../../protocol/coordinator.ts';
import { EventPage } from '../../protocol/events.ts';
import { QueueName } from '../../protocol/ids.ts';
import { visiblePrefix } from '../authorization.ts';
import { type LongPolls, openCall } from '../call-context.ts';
import { type HttpApp, databaseErrors } from '../operation.ts';
import { inDigits } from '../parameters.ts';

const EventsQuery = z.strictObject({
  after: z
    .string()
    .min(1)
    .max(100)
    .optional()
    .meta({ description: 'Id of the last event seen; absent = from the oldest kept.' }),
  queue: QueueName.optional().meta({ description: 'Only events of this queue.' }),
  prefix: QueuePrefix.default('').meta({ description: 'Only events of queues whose name begins so.' }),
  limit: inDigits(z.int().min(1).max(1000)).default(100).meta({ description: 'Events on a page.' }),
  wait_ms: inDigits(WaitMs).default(0),
});

/** The feed: what happened, in order, nothing left out. */
export function eventRoutes(
  app: HttpApp,
  { coordinator, longPolls }: { coordinator: Coordinator; longPolls: LongPolls },
): void {
  app.get(
    '/v1/events',
    {
      schema: { querystring: EventsQuery, response: { 200: EventPage } },
      config: {
        operation: {
          id: 'readEvents',
          summary: 'What happened, in order, behind a cursor; waits up to wait_ms for the first event.',
          tag: 'orchestrator',
          needs: { scope: 'read', queues: 'listed' },
          errors: [...databaseErrors],
        },
      },
    },
    async (request, reply) => {
      const { after, queue, limit, wait_ms: waitMs } = request.query;
      const prefix = visiblePrefix(request.caller, request.query.prefix);
      if (prefix === undefined) return { events: [] };
      const context = openCall(request, reply, { waitMs, longPolls });
      return coordinator.readEvents({ after, queue, prefix, limit, waitMs }, context);
    },
  );
}
