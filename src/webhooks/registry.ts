import { randomBytes } from 'node:crypto';
import { SignalboxError } from '../protocol/errors.ts';
import type { ConfiguredWebhook, Webhook, WebhookName, Webhooks, WebhookSettings } from '../protocol/webhooks.ts';
import { withProblems } from '../queues/database-problem.ts';
import type { Database } from '../store/database.ts';
import type { Decision } from '../store/decisions.ts';
import { deleteWebhook, readWebhooks, setWebhook, type WebhookRow } from '../store/webhooks.ts';

interface ChangeOptions {
  readonly ifVersion: number | undefined;
  readonly actor: string | undefined;
}

/** The verbs of webhooks, on the database. A secret leaves here once: in the answer to the call that made it. */
export class WebhookRegistry implements Webhooks {
  readonly #db: Database;

  constructor({ db }: { readonly db: Database }) {
    this.#db = db;
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
