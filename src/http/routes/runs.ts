import { z } from 'zod';
import { EndedClaim, HeldClaim, WaitingClaim } from '../../protocol/claims.ts';
import type { Coordinator } from '../../protocol/coordinator.ts';
import { EnqueueBody, QueuedRun, TakeAnswer, TakeBody } from '../../protocol/runs.ts';
import { type LongPolls, openCall } from '../call-context.ts';
import { payloadSerializer } from '../json-answer.ts';
import { type HttpLimits, bodyBytesAtLeast } from '../limits.ts';
import { type HttpApp, databaseErrors, namedInBody } from '../operation.ts';
import { NoQuery, QueueParams } from '../parameters.ts';
import { payloadOf } from '../payload.ts';
import { enqueue } from '../verbs.ts';

/** Work put into line by one, done by another. */
export function runRoutes(
  app: HttpApp,
  { coordinator, longPolls, limits }: { coordinator: Coordinator; longPolls: LongPolls; limits: HttpLimits },
): void {
  app.post(
    '/v1/queues/:queue/enqueue',
    {
      bodyLimit: Math.max(limits.bodyBytesMax, bodyBytesAtLeast.enqueue),
      schema: {
        params: QueueParams,
        querystring: NoQuery,
        body: EnqueueBody,
        response: { 200: z.union([QueuedRun, HeldClaim, WaitingClaim, EndedClaim]), 201: QueuedRun },
      },
      config: { operation: enqueue.operation },
    },
    async (request, reply) => {
      const payload = payloadOf(request.bodyText ?? '');
      const call = openCall(request, reply, { waitMs: 0, longPolls });
      const { status, body } = await enqueue.run(coordinator, request.params, { ...request.body, payload }, call);
      return reply.code(status).send(body);
    },
  );

  app.post(
    '/v1/take',
    {
      serializerCompiler: payloadSerializer,
      schema: { querystring: NoQuery, body: TakeBody, response: { 200: TakeAnswer } },
      config: {
        operation: {
          id: 'take',
          summary: 'Take runs that are due, of one queue or of all that begin so; waits up to wait_ms for the first.',
          tag: 'runs',
          needs: {
            scope: 'use',
            queues: namedInBody(TakeBody, ({ queue, prefix }) => [queue ?? prefix ?? '']),
          },
          errors: ['ttl_too_long', 'queue_not_found', ...databaseErrors],
        },
      },
    },
    async (request, reply) => {
      const { claims } = await coordinator.take(
        request.body,
        openCall(request, reply, { waitMs: request.body.wait_ms, longPolls }),
      );
      return { claims: [...claims] };
    },
  );
}
