import { z } from 'zod';
import { SignalboxError } from '../../protocol/errors.ts';
import {
  AppliedFile,
  FileLabel,
  MadeByFile,
  PatternSettings,
  QueuePattern,
  QueuePatternDetail,
  QueuePatternPage,
  type QueuePatterns,
} from '../../protocol/patterns.ts';
import { QueuePrefix } from '../../protocol/access.ts';
import { visiblePrefix } from '../authorization.ts';
import { etagOf, parseIfMatch, versionToChange, versionToDelete } from '../if-match.ts';
import { type HttpApp, databaseErrors } from '../operation.ts';
import { Cursor, NoQuery, inDigits } from '../parameters.ts';

const PatternParams = z.strictObject({ pattern: QueuePattern });
const LabelParams = z.strictObject({ label: FileLabel });
const ListQuery = z.strictObject({
  prefix: QueuePrefix.default('').meta({ description: 'Only patterns that begin so.' }),
  cursor: Cursor,
  limit: inDigits(z.int().min(1).max(1000)).default(100).meta({ description: 'Patterns on a page.' }),
});
const PatternDeleted = z.object({ deleted: z.literal(true) });

/** Defaults of queues by the beginning of their name, and what files made. */
export function queuePatternRoutes(app: HttpApp, { patterns }: { patterns: QueuePatterns }): void {
  const url = '/v1/queue-patterns/:pattern';

  app.get(
    '/v1/queue-patterns',
    {
      schema: { querystring: ListQuery, response: { 200: QueuePatternPage } },
      config: {
        operation: {
          id: 'listQueuePatterns',
          summary: 'The patterns by name, in pages.',
          tag: 'queues',
          needs: { scope: 'read', queues: 'listed' },
          errors: [...databaseErrors],
        },
      },
    },
    async (request) => {
      const prefix = visiblePrefix(request.caller, request.query.prefix);
      return prefix === undefined ? { patterns: [], next_cursor: null } : patterns.list({ ...request.query, prefix });
    },
  );

  app.get(
    url,
    {
      schema: { params: PatternParams, querystring: NoQuery, response: { 200: QueuePatternDetail } },
      config: {
        operation: {
          id: 'getQueuePattern',
          summary: 'The settings a pattern gives its queues.',
          tag: 'queues',
          needs: { scope: 'read', queues: 'named' },
          errors: ['pattern_not_found', ...databaseErrors],
        },
      },
    },
    async (request, reply) => {
      const detail = await patterns.get(request.params.pattern);
      return reply.header('etag', etagOf(detail.version)).send(detail);
    },
  );

  app.put(
    url,
    {
      schema: {
        params: PatternParams,
        querystring: NoQuery,
        body: PatternSettings,
        response: { 200: QueuePatternDetail },
      },
      config: {
        operation: {
          id: 'configureQueuePattern',
          summary: 'Make a pattern or replace its settings; its queues have them at once.',
          tag: 'queues',
          needs: { scope: 'admin', queues: 'named' },
          errors: ['invalid_settings', 'version_mismatch', ...databaseErrors],
          ifMatch: true,
        },
      },
    },
    async (request, reply) => {
      const { pattern } = request.params;
      const detail = await patterns.set(pattern, request.body, {
        ifVersion: await versionToChange(request.headers['if-match'], () => patterns.get(pattern)),
        actor: request.caller?.name,
      });
      return reply.header('etag', etagOf(detail.version)).send(detail);
    },
  );

  app.delete(
    url,
    {
      schema: { params: PatternParams, querystring: NoQuery, response: { 200: PatternDeleted } },
      config: {
        operation: {
          id: 'deleteQueuePattern',
          summary: 'Delete a pattern; its queues inherit what is left.',
          tag: 'queues',
          needs: { scope: 'admin', queues: 'named' },
          errors: ['pattern_not_found', 'version_mismatch', ...databaseErrors],
          ifMatch: true,
        },
      },
    },
    async (request) => {
      await patterns.delete(request.params.pattern, {
        ifVersion: versionToDelete(request.headers['if-match']),
        actor: request.caller?.name,
      });
      return { deleted: true as const };
    },
  );

  app.get(
    '/v1/applied-files/:label',
    {
      schema: { params: LabelParams, querystring: NoQuery, response: { 200: AppliedFile } },
      config: {
        operation: {
          id: 'getAppliedFile',
          summary: 'What the last apply of a file made; of a file never applied nothing, at version 0.',
          tag: 'queues',
          needs: { scope: 'admin', queues: 'all' },
          errors: [...databaseErrors],
        },
      },
    },
    async (request, reply) => {
      const applied = await patterns.appliedFile(request.params.label);
      return reply.header('etag', etagOf(applied.version)).send(applied);
    },
  );

  app.put(
    '/v1/applied-files/:label',
    {
      schema: { params: LabelParams, querystring: NoQuery, body: MadeByFile, response: { 200: AppliedFile } },
      config: {
        operation: {
          id: 'recordAppliedFile',
          summary: 'Remember what an apply of a file made. If-Match is required.',
          tag: 'queues',
          needs: { scope: 'admin', queues: 'all' },
          errors: ['version_mismatch', ...databaseErrors],
          ifMatch: true,
        },
      },
    },
    async (request, reply) => {
      const ifMatch = parseIfMatch(request.headers['if-match']);
      if (typeof ifMatch !== 'number')
        throw new SignalboxError('invalid_request', { detail: 'If-Match must be the version that was read.' });
      const applied = await patterns.recordApplied(request.params.label, request.body, {
        ifVersion: ifMatch,
        actor: request.caller?.name,
      });
      return reply.header('etag', etagOf(applied.version)).send(applied);
    },
  );
}
