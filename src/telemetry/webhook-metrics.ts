import { Counter, Gauge, type Registry } from 'prom-client';

/** The metrics of webhooks; those of the replica that leads, which delivers them all. */
export class WebhookMetrics {
  readonly #deliveries: Counter<'webhook' | 'result'>;
  readonly #lag: Gauge<'webhook'>;

  constructor(registry: Registry) {
    const registers = [registry];
    this.#deliveries = new Counter({
      name: 'signalbox_webhook_deliveries_total',
      help: 'Attempts at webhooks by this replica, by result (delivered, failed, gone).',
      labelNames: ['webhook', 'result'],
      registers,
    });
    this.#lag = new Gauge({
      name: 'signalbox_webhook_lag_seconds',
      help: 'How long ago the oldest event happened that a webhook is not done with; told by the leader.',
      labelNames: ['webhook'],
      registers,
    });
  }

  count(webhook: string, result: 'delivered' | 'failed' | 'gone'): void {
    this.#deliveries.inc({ webhook, result });
  }

  /** All there are: one that is not among them is told no more. */
  setLags(lags: readonly { readonly webhook: string; readonly lagMs: number }[]): void {
    this.#lag.reset();
    for (const { webhook, lagMs } of lags) this.#lag.set({ webhook }, lagMs / 1000);
  }
}
