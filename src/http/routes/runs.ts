import { z } from 'zod';
import { EndedClaim, HeldClaim, WaitingClaim } from '../../protocol/claims.ts';
import type { Coordinator } from '../../protocol/coordinator.ts';
import { SignalboxError } from '../../protocol/errors.ts';
import { JsonText } from '../../protocol/json-text.ts';
import { EnqueueBody, QueuedRun, TakeAnswer, TakeBody, payloadBytesMax } from '../../protocol/runs.ts';
import { type LongPolls, openCall } from '../call-context.ts';
import { payloadSerializer } from '../json-answer.ts';
import { type HttpLimits, bodyBytesAtLeast } from '../limits.ts';
import { memberText } from '../member-text.ts';
import { type HttpApp, databaseErrors, namedInBody } from '../operation.ts';
import { NoQuery, QueueParams } from '../parameters.ts';

/** The payload of an enqueue as it was written; 413 if it is too long. */
export function payloadOf(enqueueText: string): JsonText | undefined {
  const text = memberText(enqueueText, 'payload');
  if (text === undefined) return undefined;
  const bytes = Buffer.byteLength(text);
  if (bytes > payloadBytesMax)
    throw new SignalboxError('payload_too_large', {
      detail: `The payload has ${bytes} bytes; ${payloadBytesMax} are the most.`,
    });
  return new JsonText(text);
}

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
      config: {
        operation: {
          id: 'enqueue',
          summary: 'Put a run into line; 200 and how it stands if its claim_id is there already.',
          tag: 'runs',
          needs: { scope: 'use', queues: 'named' },
          errors: ['payload_too_large', 'queue_not_found', 'claim_id_reused', 'queue_full', ...databaseErrors],
          keepsBodyText: true,
        },
      },
    },
    async (request, reply) => {
      const payload = payloadOf(request.bodyText ?? '');
      const call = openCall(request, reply, { waitMs: 0, longPolls });
      const { created, claim } = await coordinator.enqueue(request.params.queue, { ...request.body, payload }, call);
      // A run that is new is queued; its answer is typed for all an old one can be.
      return created ? reply.code(201).send(claim as QueuedRun) : reply.code(200).send(claim);
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
