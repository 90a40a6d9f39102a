import { randomBytes } from 'node:crypto';
import { SignalboxError } from '../protocol/errors.ts';
import {
  type ConfiguredWebhook,
  type Webhook,
  type WebhookName,
  type Webhooks,
  type WebhookSettings,
  type WebhookTest,
  type WebhookTestOptions,
  webhookTimeoutMs,
} from '../protocol/webhooks.ts';
import { withProblems } from '../queues/database-problem.ts';
import { eventOf } from '../queues/event-feed.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Database } from '../store/database.ts';
import type { Decision } from '../store/decisions.ts';
import { beginWebhookTest, deleteWebhook, readWebhooks, setWebhook, type WebhookRow } from '../store/webhooks.ts';
import type { WebhookEvent } from './events.ts';
import { nextPage } from './page.ts';
import { send } from './sender.ts';

interface ChangeOptions {
  readonly ifVersion: number | undefined;
  readonly actor: string | undefined;
}

export interface WebhookRegistryOptions {
  readonly db: Database;
  readonly clock: Clock;
  readonly onEvent: (event: WebhookEvent) => void;
  /** How long a test may take. */
  readonly timeoutMs?: number;
}

/** The verbs of webhooks, on the database. A secret leaves here once: in the answer to the call that made it. */
export class WebhookRegistry implements Webhooks {
  readonly #db: Database;
  readonly #options: WebhookRegistryOptions;
  /** Those that a test is on its way to: a receiver that hangs is not called by many at once. */
  readonly #tested = new Set<WebhookName>();

  constructor(options: WebhookRegistryOptions) {
    this.#options = options;
    this.#db = options.db;
  }

  async list(): Promise<Webhook[]> {
    return (await withProblems(() => readWebhooks(this.#db))).map(shown);
  }

  async get(name: WebhookName): Promise<Webhook> {
    const [row] = await withProblems(() => readWebhooks(this.#db, name));
    if (row === undefined) throw notFound(name);
    return shown(row);
  }

  async set(name: WebhookName, settings: WebhookSettings, options: ChangeOptions): Promise<ConfiguredWebhook> {
    const newSecret = `whsec_${randomBytes(32).toString('base64')}`;
    const answer = await decided(() => setWebhook(this.#db, name, settings, { newSecret, ...options }));
    if (answer.code !== 'configured' && answer.code !== 'unchanged') throw refusal(name, answer);
    const webhook = await this.get(name);
    return answer.body?.['secret_made'] === true ? { ...webhook, secret: newSecret } : webhook;
  }

  async delete(name: WebhookName, options: ChangeOptions): Promise<void> {
    const answer = await decided(() => deleteWebhook(this.#db, name, options));
    if (answer.code !== 'deleted') throw refusal(name, answer);
  }

  async test(name: WebhookName, options: WebhookTestOptions): Promise<WebhookTest> {
    if (this.#tested.has(name))
      throw new SignalboxError('overloaded', { detail: `A test of ${name} is on its way.`, retryAfterMs: 1000 });
    this.#tested.add(name);
    try {
      return await this.#test(name, options);
    } finally {
      this.#tested.delete(name);
    }
  }

  async #test(name: WebhookName, { actor, signal }: WebhookTestOptions): Promise<WebhookTest> {
    const { clock, onEvent, timeoutMs = webhookTimeoutMs } = this.#options;
    const begun = await withProblems(() => beginWebhookTest(this.#db, name, actor));
    if (begun === undefined) throw notFound(name);
    const { url, secret, ...row } = begun;
    const { body, messageId } = nextPage(name, [row]);
    const sentAtMs = clock.monotonicMs();
    const outcome = await send({ url, secret, messageId, body }, { timeoutMs, signal });
    const durationMs = Math.round(clock.monotonicMs() - sentAtMs);
    const { status } = outcome;
    const error = outcome.kind === 'delivered' ? null : outcome.error;
    onEvent({ kind: 'webhook.tested', webhook: name, status, error, durationMs });
    return {
      webhook: name,
      delivered: error === null,
      status,
      error,
      duration_ms: durationMs,
      message_id: messageId,
      event: eventOf(row),
    };
  }
}

async function decided(call: () => Promise<readonly Decision[]>): Promise<Decision> {
  const [answer] = await withProblems(call);
  if (answer === undefined) throw new Error('the database did not answer');
  return answer;
}

function notFound(name: string): SignalboxError {
  return new SignalboxError('webhook_not_found', { detail: `There is no webhook ${name}.` });
}

function refusal(name: string, { code, body }: Decision): Error {
  if (code === 'webhook_not_found') return notFound(name);
  if (code === 'version_mismatch')
    return new SignalboxError('version_mismatch', { detail: `${name} is not at this version.`, extra: { ...body } });
  if (code === 'invalid_settings')
    return new SignalboxError('invalid_settings', { detail: body?.['detail'] as string });
  return new Error(`unknown code ${code}`);
}

function shown(row: WebhookRow): Webhook {
  return {
    name: row.name as WebhookName,
    url: row.url,
    queue_prefix: row.queue_prefix,
    types: row.types,
    labels: row.labels,
    enabled: row.enabled,
    allow_http: row.allow_http,
    lag_ms: Number(row.lag_ms),
    failures: row.failures,
    next_attempt_at: at(row.next_attempt_at),
    last_attempt_at: at(row.last_attempt_at),
    last_status: row.last_status,
    last_error: row.last_error,
    delivered_at: at(row.delivered_at),
    may_have_lost_at: at(row.may_have_lost_at),
    version: Number(row.version),
    created_at: row.created_at.toISOString(),
    updated_at: row.updated_at.toISOString(),
    updated_by: row.updated_by,
  };
}

function at(instant: Date | null): string | null {
  return instant === null ? null : instant.toISOString();
}
