import { z } from 'zod';
import { QueuePrefix } from '../../protocol/access.ts';
import { EndedClaim } from '../../protocol/claims.ts';
import type { Coordinator } from '../../protocol/coordinator.ts';
import { BlockedPage, UnblockAnswer } from '../../protocol/dead-letters.ts';
import { OperatorBody, QueuedRun } from '../../protocol/runs.ts';
import { visiblePrefix } from '../authorization.ts';
import { type HttpApp, databaseErrors } from '../operation.ts';
import { ClaimParams, Cursor, NoQuery, QueueParams, inDigits } from '../parameters.ts';

const BlockedQuery = z.strictObject({
  prefix: QueuePrefix.default('').meta({ description: 'Only queues whose name begins so.' }),
  cursor: Cursor,
  limit: inDigits(z.int().min(1).max(100)).default(50).meta({ description: 'Queues on a page.' }),
});

/** Lines that a retried or dead run keeps waiting, and what an operator does about them. */
export function blockedQueueRoutes(app: HttpApp, { coordinator }: { coordinator: Coordinator }): void {
  const claimUrl = '/v1/queues/:queue/claims/:claim_id';

  app.get(
    '/v1/blocked',
    {
      schema: { querystring: BlockedQuery, response: { 200: BlockedPage } },
      config: {
        operation: {
          id: 'listBlocked',
          summary: 'Queues whose line waits for a retried or stopped run, and which runs those are.',
          tag: 'runs',
          needs: { scope: 'read', queues: 'listed' },
          errors: [...databaseErrors],
        },
      },
    },
    async (request) => {
      const prefix = visiblePrefix(request.caller, request.query.prefix);
      return prefix === undefined
        ? { queues: [], next_cursor: null }
        : coordinator.listBlocked({ ...request.query, prefix });
    },
  );

  app.post(
    '/v1/queues/:queue/unblock',
    {
      schema: { params: QueueParams, querystring: NoQuery, body: OperatorBody, response: { 200: UnblockAnswer } },
      config: {
        operation: {
          id: 'unblockQueue',
          summary: 'Let the line go on: what blocks it stays where it is and blocks no more.',
          tag: 'runs',
          needs: { scope: 'admin', queues: 'named' },
          errors: ['queue_not_found', ...databaseErrors],
        },
      },
    },
    async (request) => coordinator.unblockQueue(request.params.queue, request.body),
  );

  app.post(
    `${claimUrl}/retry`,
    {
      schema: { params: ClaimParams, querystring: NoQuery, body: OperatorBody, response: { 200: QueuedRun } },
      config: {
        operation: {
          id: 'retryRun',
          summary: 'Try a delayed run now, or put a dead one back into line.',
          tag: 'runs',
          needs: { scope: 'admin', queues: 'named' },
          errors: ['queue_not_found', 'claim_not_found', 'not_retryable', ...databaseErrors],
        },
      },
    },
    async (request) => {
      const { queue, claim_id: claimId } = request.params;
      return coordinator.retryRun(queue, claimId, request.body);
    },
  );

  app.post(
    `${claimUrl}/skip`,
    {
      schema: { params: ClaimParams, querystring: NoQuery, body: OperatorBody, response: { 200: EndedClaim } },
      config: {
        operation: {
          id: 'skipRun',
          summary: 'Let the line go on without the run that blocks it, which ends as dead.',
          tag: 'runs',
          needs: { scope: 'admin', queues: 'named' },
          errors: ['queue_not_found', 'claim_not_found', 'not_blocking', ...databaseErrors],
        },
      },
    },
    async (request) => {
      const { queue, claim_id: claimId } = request.params;
      return coordinator.skipRun(queue, claimId, request.body);
    },
  );
}
