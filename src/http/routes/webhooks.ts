import { z } from 'zod';
import {
  ConfiguredWebhook,
  Webhook,
  WebhookList,
  WebhookName,
  type Webhooks,
  WebhookSettings,
  WebhookTest,
  webhookTimeoutMs,
} from '../../protocol/webhooks.ts';
import { type LongPolls, openCall } from '../call-context.ts';
import { etagOf, versionToChange, versionToDelete } from '../if-match.ts';
import { type HttpApp, databaseErrors } from '../operation.ts';
import { NoQuery } from '../parameters.ts';

const WebhookParams = z.strictObject({ name: WebhookName });
const NoBody = z.strictObject({}).optional();
const WebhookDeleted = z.object({ deleted: z.literal(true) });
/** Whoever may set one can have the whole feed sent anywhere, and have the leader call whatever it reaches. */
const needs = { scope: 'admin', queues: 'all' } as const;

/** Where the feed is sent to. */
export function webhookRoutes(
  app: HttpApp,
  { webhooks, longPolls }: { webhooks: Webhooks; longPolls: LongPolls },
): void {
  const url = '/v1/webhooks/:name';

  app.get(
    '/v1/webhooks',
    {
      schema: { querystring: NoQuery, response: { 200: WebhookList } },
      config: {
        operation: {
          id: 'listWebhooks',
          summary: 'All webhooks by name, how far behind each is, and why.',
          tag: 'orchestrator',
          needs,
          errors: [...databaseErrors],
        },
      },
    },
    async () => ({ webhooks: await webhooks.list() }),
  );

  app.get(
    url,
    {
      schema: { params: WebhookParams, querystring: NoQuery, response: { 200: Webhook } },
      config: {
        operation: {
          id: 'getWebhook',
          summary: 'A webhook, how far behind it is, and why; never its secret.',
          tag: 'orchestrator',
          needs,
          errors: ['webhook_not_found', ...databaseErrors],
        },
      },
    },
    async (request, reply) => {
      const webhook = await webhooks.get(request.params.name);
      return reply.header('etag', etagOf(webhook.version)).send(webhook);
    },
  );

  app.put(
    url,
    {
      schema: {
        params: WebhookParams,
        querystring: NoQuery,
        body: WebhookSettings,
        response: { 200: ConfiguredWebhook },
      },
      config: {
        operation: {
          id: 'configureWebhook',
          summary: 'Make a webhook, which begins at the end of the feed, or replace its settings.',
          tag: 'orchestrator',
          needs,
          errors: ['invalid_settings', 'version_mismatch', ...databaseErrors],
          ifMatch: true,
        },
      },
    },
    async (request, reply) => {
      const { name } = request.params;
      const webhook = await webhooks.set(name, request.body, {
        ifVersion: await versionToChange(request.headers['if-match'], () => webhooks.get(name)),
        actor: request.caller?.name,
      });
      return reply.header('etag', etagOf(webhook.version)).send(webhook);
    },
  );

  app.delete(
    url,
    {
      schema: { params: WebhookParams, querystring: NoQuery, response: { 200: WebhookDeleted } },
      config: {
        operation: {
          id: 'deleteWebhook',
          summary: 'Delete a webhook.',
          tag: 'orchestrator',
          needs,
          errors: ['webhook_not_found', 'version_mismatch', ...databaseErrors],
          ifMatch: true,
        },
      },
    },
    async (request) => {
      await webhooks.delete(request.params.name, {
        ifVersion: versionToDelete(request.headers['if-match']),
        actor: request.caller?.name,
      });
      return { deleted: true as const };
    },
  );

  app.post(
    `${url}/test`,
    {
      schema: { params: WebhookParams, querystring: NoQuery, body: NoBody, response: { 200: WebhookTest } },
      config: {
        operation: {
          id: 'testWebhook',
          summary: 'Send a webhook one signed event now, and answer what became of it.',
          tag: 'orchestrator',
          needs,
          errors: ['webhook_not_found', ...databaseErrors],
          bodyIsOptional: true,
        },
      },
    },
    async (request, reply) => {
      // It waits for somebody else: a replica that stops does not.
      const { signal } = openCall(request, reply, { waitMs: webhookTimeoutMs, longPolls });
      return webhooks.test(request.params.name, { actor: request.caller?.name, signal });
    },
  );
}
