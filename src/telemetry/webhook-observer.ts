import type { WebhookEvent } from '../webhooks/events.ts';
import type { Logger } from './log.ts';
import type { WebhookMetrics } from './webhook-metrics.ts';

/** Turns what the delivery of webhooks tells into log lines and metrics. */
export function webhookObserver(log: Logger, metrics: WebhookMetrics): (event: WebhookEvent) => void {
  return (event) => {
    switch (event.kind) {
      case 'webhook.delivered':
        metrics.count(event.webhook, 'delivered');
        if (event.failures > 0) log.info({ webhook: event.webhook, after: event.failures }, 'webhook delivers again');
        return;
      case 'webhook.failed':
        metrics.count(event.webhook, 'failed');
        log.warn(
          { webhook: event.webhook, reason: event.error, failures: event.failures, retry_in_ms: event.retryInMs },
          'webhook not delivered',
        );
        return;
      case 'webhook.disabled':
        metrics.count(event.webhook, 'gone');
        log.warn({ webhook: event.webhook }, 'webhook turned off: its receiver wants no more');
        return;
      case 'webhook.tested':
        log.info(
          { webhook: event.webhook, status: event.status, reason: event.error, duration_ms: event.durationMs },
          'webhook tested',
        );
        break;
      case 'webhook.lags':
        metrics.setLags(event.lags);
        return;
      default:
        event satisfies never;
    }
  };
}
