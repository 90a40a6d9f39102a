/** What the delivery of webhooks tells to logs and metrics. No URL and no secret is in it. */
export type WebhookEvent =
  | { readonly kind: 'webhook.delivered'; readonly webhook: string; readonly events: number; readonly failures: number }
  | {
      readonly kind: 'webhook.failed';
      readonly webhook: string;
      readonly error: string;
      /** In a row, this one included. */
      readonly failures: number;
      readonly retryInMs: number;
    }
  /** The receiver wants no more; it has been turned off. */
  | { readonly kind: 'webhook.disabled'; readonly webhook: string }
  /** By a call; `error` null = it was delivered. */
  | {
      readonly kind: 'webhook.tested';
      readonly webhook: string;
      readonly status: number | null;
      readonly error: string | null;
      readonly durationMs: number;
    }
  /** How far those that are on are behind, by the database's clock; none after the term has ended. */
  | { readonly kind: 'webhook.lags'; readonly lags: readonly { readonly webhook: string; readonly lagMs: number }[] };
