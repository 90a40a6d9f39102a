import { z } from 'zod';
import { QueuePrefix } from '../../protocol/access.ts';
import type { Coordinator } from '../../protocol/coordinator.ts';
import { FencingToken } from '../../protocol/ids.ts';
import { QueueDetail, QueuePage, QueueSettingsChange, TokenCheck } from '../../protocol/queues.ts';
import { visiblePrefix } from '../authorization.ts';
import { etagOf, versionToChange, versionToDelete } from '../if-match.ts';
import { type HttpApp, databaseErrors } from '../operation.ts';
import { Cursor, Flag, NoQuery, QueueParams, inDigits } from '../parameters.ts';

const ListQuery = z.strictObject({
  prefix: QueuePrefix.default('').meta({ description: 'Only queues whose name begins so.' }),
  cursor: Cursor,
  limit: inDigits(z.int().min(1).max(1000)).default(100).meta({ description: 'Queues on a page.' }),
});
const DeleteQuery = z.strictObject({
  force: Flag.default(false).meta({ description: 'End its holders with reason broken.' }),
});
const CheckQuery = z.strictObject({
  fencing_token: inDigits(FencingToken).meta({ description: 'The token to check.' }),
  slot: inDigits(z.int().min(1).max(2_147_483_647)).default(1).meta({ description: 'The place it was granted for.' }),
});
const QueueDeleted = z.object({ deleted: z.literal(true) });

/** Queues: settings, state, the list, and whether a token is the current one. */
export function queueRoutes(app: HttpApp, { coordinator }: { coordinator: Coordinator }): void {
  const queueUrl = '/v1/queues/:queue';

  app.put(
    queueUrl,
    {
      schema: { params: QueueParams, querystring: NoQuery, body: QueueSettingsChange, response: { 200: QueueDetail } },
      config: {
        operation: {
          id: 'configureQueue',
          summary: 'Make a queue or change its settings; absent fields keep their value.',
          tag: 'queues',
          needs: { scope: 'admin', queues: 'named' },
          errors: ['invalid_settings', 'version_mismatch', ...databaseErrors],
          ifMatch: true,
        },
      },
    },
    async (request, reply) => {
      const { queue } = request.params;
      const ifVersion = await versionToChange(request.headers['if-match'], () => coordinator.getQueue(queue));
      const detail = await coordinator.configureQueue(queue, request.body, {
        ifVersion,
        actor: request.caller?.name,
      });
      return reply.header('etag', etagOf(detail.version)).send(detail);
    },
  );

  app.get(
    queueUrl,
    {
      schema: { params: QueueParams, querystring: NoQuery, response: { 200: QueueDetail } },
      config: {
        operation: {
          id: 'getQueue',
          summary: 'Settings, holders and the head of the line.',
          tag: 'queues',
          needs: { scope: 'read', queues: 'named' },
          errors: ['queue_not_found', ...databaseErrors],
        },
      },
    },
    async (request, reply) => {
      const detail = await coordinator.getQueue(request.params.queue);
      return reply.header('etag', etagOf(detail.version)).send(detail);
    },
  );

  app.delete(
    queueUrl,
    {
      schema: { params: QueueParams, querystring: DeleteQuery, response: { 200: QueueDeleted } },
      config: {
        operation: {
          id: 'deleteQueue',
          summary: 'Delete a queue nobody uses, or with force any.',
          tag: 'queues',
          needs: { scope: 'admin', queues: 'named' },
          errors: ['queue_not_found', 'queue_in_use', 'version_mismatch', ...databaseErrors],
          ifMatch: true,
        },
      },
    },
    async (request) => {
      await coordinator.deleteQueue(request.params.queue, {
        force: request.query.force,
        ifVersion: versionToDelete(request.headers['if-match']),
        actor: request.caller?.name,
      });
      return { deleted: true as const };
    },
  );

  app.get(
    '/v1/queues',
    {
      schema: { querystring: ListQuery, response: { 200: QueuePage } },
      config: {
        operation: {
          id: 'listQueues',
          summary: 'The queues by name, in pages.',
          tag: 'queues',
          needs: { scope: 'read', queues: 'listed' },
          errors: [...databaseErrors],
        },
      },
    },
    async (request) => {
      const prefix = visiblePrefix(request.caller, request.query.prefix);
      return prefix === undefined
        ? { queues: [], next_cursor: null }
        : coordinator.listQueues({ ...request.query, prefix });
    },
  );

  app.get(
    `${queueUrl}/check`,
    {
      schema: { params: QueueParams, querystring: CheckQuery, response: { 200: TokenCheck } },
      config: {
        operation: {
          id: 'checkToken',
          summary: 'Does a held lease bear exactly this token?',
          tag: 'queues',
          needs: { scope: 'read', queues: 'named' },
          errors: ['queue_not_found', ...databaseErrors],
        },
      },
    },
    async (request) => {
      const { fencing_token: token, slot } = request.query;
      return coordinator.checkToken(request.params.queue, token, slot);
    },
  );
}
