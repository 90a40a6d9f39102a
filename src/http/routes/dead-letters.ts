import { z } from 'zod';
import { QueuePrefix } from '../../protocol/access.ts';
import type { Coordinator } from '../../protocol/coordinator.ts';
import { DeadLetterPage, DeadLettersBody, PurgeAnswer, RedriveAnswer } from '../../protocol/dead-letters.ts';
import { QueueName } from '../../protocol/ids.ts';
import { visibleQueues } from '../authorization.ts';
import { payloadSerializer } from '../json-answer.ts';
import { type HttpLimits, bodyBytesAtLeast } from '../limits.ts';
import { type HttpApp, databaseErrors } from '../operation.ts';
import { Cursor, NoQuery, QueueParams, inDigits } from '../parameters.ts';

const DeadLettersQuery = z
  .strictObject({
    queue: QueueName.optional().meta({ description: 'Only dead letters of this queue.' }),
    prefix: QueuePrefix.default('').meta({ description: 'Only of queues whose name begins so.' }),
    cursor: Cursor,
    limit: inDigits(z.int().min(1).max(100)).default(50).meta({ description: 'Dead letters on a page.' }),
  })
  .refine(({ queue, prefix }) => queue === undefined || prefix === '', 'name queue or prefix, not both');

/** Runs that are dead: look at them, put them back, throw them away. */
export function deadLetterRoutes(
  app: HttpApp,
  { coordinator, limits }: { coordinator: Coordinator; limits: HttpLimits },
): void {
  const queueUrl = '/v1/queues/:queue/dead-letters';
  const bodyLimit = Math.max(limits.bodyBytesMax, bodyBytesAtLeast.claimIds);

  app.get(
    '/v1/dead-letters',
    {
      serializerCompiler: payloadSerializer,
      schema: { querystring: DeadLettersQuery, response: { 200: DeadLetterPage } },
      config: {
        operation: {
          id: 'listDeadLetters',
          summary: 'Dead runs with payload and history, by queue and time of death, in pages.',
          tag: 'runs',
          needs: { scope: 'use', queues: 'listed' },
          errors: [...databaseErrors],
        },
      },
    },
    async (request) => {
      const { queue, prefix, cursor, limit } = request.query;
      const visible = visibleQueues(request.caller, { queue, prefix });
      if (visible === undefined) return { dead_letters: [], next_cursor: null };
      const page = await coordinator.listDeadLetters({ ...visible, cursor, limit });
      return { ...page, dead_letters: [...page.dead_letters] };
    },
  );

  app.post(
    `${queueUrl}/redrive`,
    {
      bodyLimit,
      schema: { params: QueueParams, querystring: NoQuery, body: DeadLettersBody, response: { 200: RedriveAnswer } },
      config: {
        operation: {
          id: 'redriveDeadLetters',
          summary: 'Put dead runs back to their old places in the line, with as many attempts again.',
          tag: 'runs',
          needs: { scope: 'admin', queues: 'named' },
          errors: ['queue_not_found', ...databaseErrors],
        },
      },
    },
    async (request) => coordinator.redriveDeadLetters(request.params.queue, request.body),
  );

  app.post(
    `${queueUrl}/purge`,
    {
      bodyLimit,
      schema: { params: QueueParams, querystring: NoQuery, body: DeadLettersBody, response: { 200: PurgeAnswer } },
      config: {
        operation: {
          id: 'purgeDeadLetters',
          summary: 'Delete dead runs and their payloads.',
          tag: 'runs',
          needs: { scope: 'admin', queues: 'named' },
          errors: ['queue_not_found', ...databaseErrors],
        },
      },
    },
    async (request) => coordinator.purgeDeadLetters(request.params.queue, request.body),
  );
}
