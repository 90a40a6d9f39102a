import { z } from 'zod';
import { QueuePrefix } from './access.ts';
import { Labels } from './claims.ts';
import { Event, EventType } from './events.ts';
import { plainText } from './ids.ts';

/** Where the feed of events is sent to: POSTs signed as Standard Webhooks says, at least once, in the order of the feed. */

export const WebhookName = z
  .string()
  .regex(/^[A-Za-z0-9._:/@-]{1,200}$/, 'must be 1 to 200 characters of A-Z a-z 0-9 . _ : / @ -')
  .refine((value) => !/^\.+$/.test(value), 'must not be dots only')
  .brand<'WebhookName'>()
  .meta({ description: 'The name of a webhook.' });
export type WebhookName = z.infer<typeof WebhookName>;

const loopback = /^(localhost|127(\.[0-9]{1,3}){3}|\[::1\])$/;

/** The URL as it is kept, or undefined if it is none that can be sent to. */
function readUrl(text: string): URL | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  return url === undefined || !['http:', 'https:'].includes(url.protocol) ? undefined : url;
}

export const WebhookUrl = plainText(2000)
  .refine((text) => readUrl(text) !== undefined, 'must be an http or https URL')
  .refine((text) => (readUrl(text)?.username ?? '') === '' && (readUrl(text)?.password ?? '') === '', {
    message: 'must not hold a user or password: the signature says who sends',
  })
  .refine((text) => (readUrl(text)?.href.length ?? 0) <= 4000, 'must not be longer than 4000 characters when encoded');

/** 24 to 64 bytes, as Standard Webhooks writes them. */
export const WebhookSecret = z
  .string()
  .regex(/^whsec_[A-Za-z0-9+/]{32,86}={0,2}$/, 'must be whsec_ and 24 to 64 bytes in base64')
  .refine((text) => {
    const encoded = text.slice('whsec_'.length);
    const bytes = Buffer.from(encoded, 'base64');
    return bytes.length >= 24 && bytes.length <= 64 && bytes.toString('base64') === encoded;
  }, 'must be whsec_ and 24 to 64 bytes in base64');

/** As many as a reader of the feed may ask for. */
const WebhookLabels = Labels.refine((labels) => {
  const { length } = Object.keys(labels);
  return length >= 1 && length <= 8;
}, 'must be 1 to 8 labels');

/** The whole document: what is left out has its default; only the secret stays as it was. */
export const WebhookSettings = z
  .strictObject({
    url: WebhookUrl.meta({ description: 'Where to POST to; https, or http to this machine.' }),
    secret: WebhookSecret.optional().meta({ description: 'Signs; made, and shown in this answer alone, if absent.' }),
    queue_prefix: QueuePrefix.default('').meta({ description: 'Only events of queues whose name begins so.' }),
    types: z
      .array(EventType)
      .min(1)
      .max(100)
      .nullable()
      .default(null)
      .meta({ description: 'Only events of these types; null = of all.' }),
    labels: WebhookLabels.nullable().default(null).meta({
      description: 'Only events of claims that have all of these labels; null = of all, and those of no claim.',
    }),
    enabled: z
      .boolean()
      .default(true)
      .meta({ description: 'false: nothing is sent, and its place in the feed is kept.' }),
    allow_http: z.boolean().default(false).meta({ description: 'http, unencrypted, also to other machines.' }),
  })
  .refine(
    ({ url, allow_http: allowed }) => {
      const parsed = readUrl(url);
      return parsed === undefined || allowed || parsed.protocol === 'https:' || loopback.test(parsed.hostname);
    },
    { path: ['url'], message: 'must be https, unless it is of this machine or allow_http is true' },
  )
  .transform((settings) => ({ ...settings, url: readUrl(settings.url)?.href ?? settings.url }));
export type WebhookSettings = z.output<typeof WebhookSettings>;
/** As a caller writes it. */
export type WebhookDocument = z.input<typeof WebhookSettings>;

const Instant = z.string().meta({ format: 'date-time' });

export const Webhook = z.object({
  name: WebhookName,
  url: z.string(),
  queue_prefix: z.string(),
  types: z.array(z.string()).nullable(),
  labels: z.record(z.string(), z.string()).nullable(),
  enabled: z.boolean(),
  allow_http: z.boolean(),
  lag_ms: z.int().meta({
    description:
      'How long ago the oldest event happened that it is not done with, whether it is for it or not; 0 = none.',
  }),
  failures: z.int().meta({ description: 'Attempts that failed since the last that did not.' }),
  next_attempt_at: Instant.nullable(),
  last_attempt_at: Instant.nullable(),
  last_status: z.int().nullable().meta({ description: 'Of the last attempt; null = there was no answer.' }),
  last_error: z.string().nullable().meta({ description: 'Of the last attempt; null = it was delivered.' }),
  delivered_at: Instant.nullable(),
  may_have_lost_at: Instant.nullable().meta({
    description: 'When it went on behind events that had been dropped with old history, since it was away for longer.',
  }),
  version: z.int(),
  created_at: Instant,
  updated_at: Instant,
  updated_by: z.string().nullable(),
});
export type Webhook = z.infer<typeof Webhook>;

export const ConfiguredWebhook = Webhook.extend({
  secret: z.string().optional().meta({ description: 'Only in the answer that made it.' }),
});
export type ConfiguredWebhook = z.infer<typeof ConfiguredWebhook>;

export const WebhookList = z.object({ webhooks: z.array(Webhook) });

export const WebhookTest = z.object({
  webhook: WebhookName,
  delivered: z.boolean().meta({ description: 'It answered 2xx in time.' }),
  status: z.int().nullable().meta({ description: 'What it answered; null = there was no answer.' }),
  error: z.string().nullable().meta({ description: 'Why it was not delivered; null = it was.' }),
  duration_ms: z.int().meta({ description: 'From connecting to the end of the answer.' }),
  message_id: z.string().meta({ description: 'The webhook-id it was sent with.' }),
  event: Event.meta({ description: 'What it was sent: an event of the feed, of type webhook.tested.' }),
});
export type WebhookTest = z.infer<typeof WebhookTest>;

interface ChangeOptions {
  readonly ifVersion: number | undefined;
  readonly actor: string | undefined;
}

export interface WebhookTestOptions {
  readonly actor: string | undefined;
  /** Gives it up; it may have been delivered. */
  readonly signal: AbortSignal;
}

/** How long a receiver may take for an answer, connecting included: for tests and for the feed. */
export const webhookTimeoutMs = 10_000;

/** The verbs of webhooks. Whatever may come of the database is thrown as SignalboxError. */
export interface Webhooks {
  /** All of them by name; there are at most 100. */
  list(): Promise<Webhook[]>;
  /** Throws 404 `webhook_not_found`. */
  get(name: WebhookName): Promise<Webhook>;
  /** Throws 400 `invalid_settings`, 412 `version_mismatch`. */
  set(name: WebhookName, settings: WebhookSettings, options: ChangeOptions): Promise<ConfiguredWebhook>;
  /** Throws 404 `webhook_not_found`, 412 `version_mismatch`. */
  delete(name: WebhookName, options: ChangeOptions): Promise<void>;
  /**
   * Sends one event, `webhook.tested`, now, enabled or not, and out of the order of the feed; what became of it changes
   * nothing about the webhook. The event is in the feed before it goes out. Throws 404 `webhook_not_found`, 503
   * `overloaded` while this replica sends a test to the same webhook, and the signal's reason.
   */
  test(name: WebhookName, options: WebhookTestOptions): Promise<WebhookTest>;
}
