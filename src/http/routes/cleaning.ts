import { CleanAnswer, CleanBody } from '../../protocol/cleaning.ts';
import type { Coordinator } from '../../protocol/coordinator.ts';
import { type LongPolls, openCall } from '../call-context.ts';
import { type HttpApp, databaseErrors } from '../operation.ts';
import { NoQuery, QueueParams } from '../parameters.ts';

/** The clean-up stage: dirty slots, and who cleans them. */
export function cleaningRoutes(
  app: HttpApp,
  { coordinator, longPolls }: { coordinator: Coordinator; longPolls: LongPolls },
): void {
  app.post(
    '/v1/queues/:queue/clean',
    {
      schema: { params: QueueParams, querystring: NoQuery, body: CleanBody, response: { 200: CleanAnswer } },
      config: {
        operation: {
          id: 'clean',
          summary: 'Take dirty slots to clean them; each is a lease, and free once it is released as a success.',
          tag: 'claims',
          needs: { scope: 'use', queues: 'named' },
          errors: ['ttl_too_long', 'queue_not_found', 'request_id_reused', ...databaseErrors],
        },
      },
    },
    async (request, reply) => {
      const { queue } = request.params;
      const call = openCall(request, reply, { waitMs: request.body.wait_ms, longPolls });
      const { claims } = await coordinator.clean(queue, request.body, call);
      return { claims: [...claims] };
    },
  );
}
