import type { ConfiguredWebhook, Webhook, WebhookTest } from '../../protocol/webhooks.ts';
import { inWords } from '../duration.ts';
import { oneLine, printable } from '../printable.ts';
import { table } from '../status/table.ts';

const heads = ['WEBHOOK', 'TARGET', 'STATE', 'LAG', 'FAILURES', 'LAST ATTEMPT', 'DELIVERED AT'];

/** One line for each webhook. Of its URL only the host: what is behind it may be a secret. */
export function webhooksTable(webhooks: readonly Webhook[]): string {
  if (webhooks.length === 0) return 'no webhooks';
  return table(
    heads,
    webhooks.map((webhook) => [
      webhook.name,
      new URL(webhook.url).origin,
      webhook.enabled ? 'on' : 'off',
      inWords(webhook.lag_ms),
      `${webhook.failures}`,
      lastAttempt(webhook),
      webhook.delivered_at ?? '-',
    ]),
  );
}

/** One webhook; with its secret only where that has just been made. */
export function webhookText(webhook: ConfiguredWebhook): string {
  const { secret } = webhook;
  const rows = [
    ['url', printable(webhook.url)],
    ['queue prefix', webhook.queue_prefix === '' ? '-' : webhook.queue_prefix],
    ['types', webhook.types?.join(', ') ?? 'all'],
    ['labels', labelsText(webhook)],
    ['enabled', `${webhook.enabled}`],
    ['allow http', `${webhook.allow_http}`],
    ['lag', inWords(webhook.lag_ms)],
    ['failures', `${webhook.failures}`],
    ['last attempt', [lastAttempt(webhook), webhook.last_attempt_at].filter((part) => part !== null).join(', ')],
    ['next attempt', webhook.next_attempt_at ?? '-'],
    ['delivered at', webhook.delivered_at ?? '-'],
    ...(webhook.may_have_lost_at === null ? [] : [['may have lost', webhook.may_have_lost_at]]),
    ['version', `${webhook.version}, ${webhook.updated_at}${byWhom(webhook)}`],
    ...(secret === undefined ? [] : [['secret', `${secret} (shown this once)`]]),
  ];
  return `${webhook.name}\n${table([], rows).replace(/^(?=.)/gm, '  ')}`;
}

/** What the receiver said, in one line. */
export function webhookTestText({ webhook, delivered, status, error, duration_ms: durationMs }: WebhookTest): string {
  const said = delivered ? `answered ${status}` : oneLine(error);
  return `${delivered ? 'delivered to' : 'not delivered to'} ${webhook}: ${said} (${inWords(durationMs)})`;
}

function labelsText({ labels }: { readonly labels?: Webhook['labels'] }): string {
  if (labels == null) return 'all';
  return oneLine(
    Object.entries(labels)
      .map(([name, value]) => `${name}=${value}`)
      .join(', '),
    1000,
  );
}

function lastAttempt({ last_attempt_at: at, last_status: status, last_error: error }: Webhook): string {
  if (at === null) return '-';
  return error === null ? `answered ${status}` : oneLine(error);
}

function byWhom({ updated_by: by }: Webhook): string {
  return by === null ? '' : `, by ${oneLine(by)}`;
}
