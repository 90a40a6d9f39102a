import { z } from 'zod';
import { QueuePrefix } from '../../protocol/access.ts';
import { SignalboxError } from '../../protocol/errors.ts';
import {
  type MergeQueueId,
  type MergeQueues,
  MergeQueueDetail,
  MergeQueuePage,
  MergeQueueSettingsChange,
  mergeQueueId,
  mergeQueuePrefix,
} from '../../protocol/merge-queue.ts';
import { visiblePrefix } from '../authorization.ts';
import { etagOf, versionToChange, versionToDelete } from '../if-match.ts';
import { type HttpApp, databaseErrors } from '../operation.ts';
import { Cursor, Flag, NoQuery, inDigits } from '../parameters.ts';

const onePart = z.string().regex(/^[A-Za-z0-9._:@-]{1,200}$/, 'must be 1 to 200 characters of A-Z a-z 0-9 . _ : @ -');
const MergeQueueParams = z.strictObject({
  owner: onePart,
  repo: onePart,
  base_ref: z
    .string()
    .regex(/^[A-Za-z0-9._:/@-]{1,200}$/, 'must be 1 to 200 characters of A-Z a-z 0-9 . _ : / @ -')
    .meta({ description: 'The base branch; its slashes percent-encoded.' }),
});
const ListQuery = z.strictObject({
  prefix: QueuePrefix.default('').meta({ description: 'Only those whose name begins so, e.g. merge-queue/acme/.' }),
  cursor: Cursor,
  limit: inDigits(z.int().min(1).max(100)).default(50).meta({ description: 'Merge queues on a page.' }),
});
const DeleteQuery = z.strictObject({
  force: Flag.default(false).meta({ description: 'Clear its builds first.' }),
});
const MergeQueueDeleted = z.object({ deleted: z.literal(true) });

function idOf({ owner, repo, base_ref: baseRef }: z.infer<typeof MergeQueueParams>): MergeQueueId {
  const id = mergeQueueId(owner, repo, baseRef);
  if (id !== undefined) return id;
  throw new SignalboxError('invalid_request', {
    detail: 'The name of a merge queue has at most 200 characters, and no part of dots only.',
  });
}

/** Merge queues as the rest of this service speaks: settings, state with reasons, and the list. */
export function mergeQueueRoutes(app: HttpApp, { mergeQueues }: { mergeQueues: MergeQueues }): void {
  const url = '/v1/merge-queues/:owner/:repo/:base_ref';

  app.get(
    '/v1/merge-queues',
    {
      schema: { querystring: ListQuery, response: { 200: MergeQueuePage } },
      config: {
        operation: {
          id: 'listMergeQueues',
          summary: 'The merge queues by name, in pages.',
          tag: 'merge-queues',
          needs: { scope: 'read', queues: 'listed' },
          errors: [...databaseErrors],
        },
      },
    },
    async (request) => {
      const { prefix: asked } = request.query;
      const prefix = visiblePrefix(request.caller, asked === '' ? mergeQueuePrefix : asked);
      return prefix === undefined
        ? { merge_queues: [], next_cursor: null }
        : mergeQueues.page({ ...request.query, prefix });
    },
  );

  app.get(
    url,
    {
      schema: { params: MergeQueueParams, querystring: NoQuery, response: { 200: MergeQueueDetail } },
      config: {
        operation: {
          id: 'getMergeQueue',
          summary: 'Settings of a merge queue, its holder, and why the others wait.',
          tag: 'merge-queues',
          needs: { scope: 'read', queues: 'named' },
          errors: ['merge_queue_not_found', ...databaseErrors],
        },
      },
    },
    async (request, reply) => {
      const detail = await mergeQueues.detail(idOf(request.params));
      return reply.header('etag', etagOf(detail.version)).send(detail);
    },
  );

  app.put(
    url,
    {
      schema: {
        params: MergeQueueParams,
        querystring: NoQuery,
        body: MergeQueueSettingsChange,
        response: { 200: MergeQueueDetail },
      },
      config: {
        operation: {
          id: 'configureMergeQueue',
          summary: 'Make a merge queue or change its settings; absent fields keep their value.',
          tag: 'merge-queues',
          needs: { scope: 'admin', queues: 'named' },
          errors: ['version_mismatch', ...databaseErrors],
          ifMatch: true,
        },
      },
    },
    async (request, reply) => {
      const id = idOf(request.params);
      const detail = await mergeQueues.configure(id, request.body, {
        ifVersion: await versionToChange(request.headers['if-match'], () => mergeQueues.detail(id)),
        actor: request.caller?.name,
      });
      return reply.header('etag', etagOf(detail.version)).send(detail);
    },
  );

  app.delete(
    url,
    {
      schema: { params: MergeQueueParams, querystring: DeleteQuery, response: { 200: MergeQueueDeleted } },
      config: {
        operation: {
          id: 'deleteMergeQueue',
          summary: 'Delete a merge queue without builds, or with force any.',
          tag: 'merge-queues',
          needs: { scope: 'admin', queues: 'named' },
          errors: ['merge_queue_not_found', 'merge_queue_in_use', 'version_mismatch', ...databaseErrors],
          ifMatch: true,
        },
      },
    },
    async (request) => {
      await mergeQueues.remove(idOf(request.params), {
        force: request.query.force,
        ifVersion: versionToDelete(request.headers['if-match']),
        actor: request.caller?.name,
      });
      return { deleted: true as const };
    },
  );
}
