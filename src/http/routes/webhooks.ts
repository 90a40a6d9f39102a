import { z } from 'zod';
import { SignalboxError } from '../../protocol/errors.ts';
import {
  ConfiguredWebhook,
  Webhook,
  WebhookList,
  WebhookName,
  type Webhooks,
  WebhookSettings,
} from '../../protocol/webhooks.ts';
import { type HttpApp, databaseErrors } from '../operation.ts';
import { NoQuery, etagOf, parseIfMatch } from '../parameters.ts';

const WebhookParams = z.strictObject({ name: WebhookName });
const WebhookDeleted = z.object({ deleted: z.literal(true) });
/** Whoever may set one can have the whole feed sent anywhere, and have the leader call whatever it reaches. */
const needs = { scope: 'admin', queues: 'all' } as const;

/** `If-Match: *` asks only that the webhook is there; a call that would make it must look first. */
async function requireWebhook(webhooks: Webhooks, name: WebhookName): Promise<void> {
  try {
    await webhooks.get(name);
  } catch (error) {
    if (error instanceof SignalboxError && error.code === 'webhook_not_found')
      throw new SignalboxError('version_mismatch', { detail: 'There is no such webhook.', cause: error });
    throw error;
  }
}

/** Where the feed is sent to. */
export function webhookRoutes(app: HttpApp, { webhooks }: { webhooks: Webhooks }): void {
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
      const ifMatch = parseIfMatch(request.headers['if-match']);
      if (ifMatch === 'any') await requireWebhook(webhooks, name);
      const webhook = await webhooks.set(name, request.body, {
        ifVersion: ifMatch === 'any' ? undefined : ifMatch,
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
      const ifMatch = parseIfMatch(request.headers['if-match']);
      await webhooks.delete(request.params.name, {
        ifVersion: ifMatch === 'any' ? undefined : ifMatch,
        actor: request.caller?.name,
      });
      return { deleted: true as const };
    },
  );
}
