import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import { ScrapeRead } from './scrape-read.ts';

/** How a merge queue stands; those of absent numbers have no gauge. */
export interface MergeQueueNumbers {
  readonly queue: string;
  /** As mq-lease-service names it: owner:repo:base_ref. */
  readonly providerId: string;
  readonly pending: number;
  readonly known: number;
  readonly oldestWaitMs: number | null;
  readonly holderAgeMs: number | null;
}

/** What is counted of something that happened to a merge queue. `type` as the feed of events has it. */
export interface CountedMergeEvent {
  readonly type: string;
  readonly waitedMs?: number;
  readonly heldMs?: number;
  readonly mergedBatchSize?: number | null;
}

/** The names mq-lease-service gives its routes. */
const routeNames: Readonly<Record<string, string>> = {
  'GET /merge-queue': 'providers.list',
  'GET /merge-queue/:owner/:repo/:base_ref': 'provider.show',
  'DELETE /merge-queue/:owner/:repo/:base_ref': 'provider.clear',
  'POST /merge-queue/:owner/:repo/:base_ref/acquire': 'provider.acquire',
  'POST /merge-queue/:owner/:repo/:base_ref/release': 'provider.release',
  'POST /merge-queue/:owner/:repo/:base_ref/renew': 'provider.renew',
};

/** The original's: 1, 2 and 5 of each decade from 1 ns to 0.5 s, then seconds. */
const durationBuckets = [
  ...Array.from({ length: 9 }, (_, i) => i - 9).flatMap((exponent) =>
    [1, 2, 5].map((digit) => Number(`${digit}e${exponent}`)),
  ),
  ...[1, 2, 5, 10, 15, 20, 30],
];
/** From a build that is the first to poll to the longest merge queue anybody waits for. */
const secondsBuckets = [0.1, 1, 5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200];

/** Merge queues with a histogram of their own; the sizes of all others are told together. */
const providersMax = 1000;
const otherProviders = 'other';

/**
 * The metrics of merge queues: ours, and beside them those of mq-lease-service under its own names, so that dashboards need
 * no change. How the queues stand is read from the database at each scrape, by `refresh`.
 */
export class MergeQueueMetrics {
  readonly #leaseRequests: Gauge<'provider_id'>;
  readonly #batchSize: Histogram<'provider_id'>;
  readonly #httpRequests: Counter<'status_code' | 'method' | 'route_name'>;
  readonly #httpSeconds: Histogram<'status_code' | 'method' | 'route_name'>;
  readonly #inProgress: Gauge<'method'>;
  readonly #pending: Gauge<'queue'>;
  readonly #oldestWait: Gauge<'queue'>;
  readonly #holderAge: Gauge<'queue'>;
  readonly #events: Counter<'type'>;
  readonly #waitSeconds: Histogram;
  readonly #holdSeconds: Histogram;
  readonly #refusals: Counter<'code'>;
  readonly #providers = new Set<string>();
  readonly #numbers = new ScrapeRead<readonly MergeQueueNumbers[]>((numbers) => this.#show(numbers));

  constructor(registry: Registry) {
    const registers = [registry];
    const prefix = 'aks_mq_lease_service_';
    this.#leaseRequests = new Gauge({
      name: `${prefix}provider_lease_requests_total`,
      help: 'Builds of a merge queue: those that wait and the holder.',
      labelNames: ['provider_id'],
      registers,
    });
    this.#batchSize = new Histogram({
      name: `${prefix}provider_merged_batch_size`,
      help: 'Builds that a success completed: itself and those of lower priority.',
      labelNames: ['provider_id'],
      buckets: [1, 2, 3, 4, 5, 6, 7, 10, 15, 20],
      registers,
    });
    this.#httpRequests = new Counter({
      name: `${prefix}http_requests_total`,
      help: 'Requests of /merge-queue, by status, method and route.',
      labelNames: ['status_code', 'method', 'route_name'],
      registers,
    });
    this.#httpSeconds = new Histogram({
      name: `${prefix}http_request_duration_seconds`,
      help: 'Time of the requests of /merge-queue, waits included.',
      labelNames: ['status_code', 'method', 'route_name'],
      buckets: durationBuckets,
      registers,
    });
    this.#inProgress = new Gauge({
      name: `${prefix}requests_in_progress_total`,
      help: 'Requests of /merge-queue under way.',
      labelNames: ['method'],
      registers,
    });
    this.#pending = new Gauge({
      name: 'signalbox_merge_queue_pending',
      help: 'Builds that wait in a merge queue.',
      labelNames: ['queue'],
      registers,
    });
    this.#oldestWait = new Gauge({
      name: 'signalbox_merge_queue_oldest_wait_seconds',
      help: 'How long the first registered of those that wait has waited; absent if nobody waits.',
      labelNames: ['queue'],
      registers,
    });
    this.#holderAge = new Gauge({
      name: 'signalbox_merge_queue_holder_age_seconds',
      help: 'How long the holder has had the lease; absent if nobody has it.',
      labelNames: ['queue'],
      registers,
    });
    this.#events = new Counter({
      name: 'signalbox_merge_queue_events_total',
      help: 'What happened to merge queues by calls and chores of this replica, by type of event.',
      labelNames: ['type'],
      registers,
    });
    this.#waitSeconds = new Histogram({
      name: 'signalbox_merge_queue_wait_seconds',
      help: 'From the registration of a build to its lease.',
      buckets: secondsBuckets,
      registers,
    });
    this.#holdSeconds = new Histogram({
      name: 'signalbox_merge_queue_hold_seconds',
      help: 'From a lease to its end, of whatever kind.',
      buckets: secondsBuckets,
      registers,
    });
    this.#refusals = new Counter({
      name: 'signalbox_merge_queue_refusals_total',
      help: 'Calls of /merge-queue that were answered with an error, by its code.',
      labelNames: ['code'],
      registers,
    });
  }

  /** Says where to read how the queues stand. */
  readWith(read: () => Promise<readonly MergeQueueNumbers[]>): void {
    this.#numbers.readWith(read);
  }

  /**
   * Brings the gauges of the queues up to date. Never throws, and never takes longer than a second: without an answer of
   * the database there are no such gauges.
   */
  refresh(): Promise<void> {
    return this.#numbers.refresh();
  }

  /** All other routes are not counted. */
  observeRequest(route: string, method: string, status: number, seconds: number): void {
    const routeName = routeNames[`${method === 'HEAD' ? 'GET' : method} ${route}`];
    if (routeName === undefined) return;
    const labels = { status_code: String(status), method, route_name: routeName };
    this.#httpRequests.inc(labels);
    this.#httpSeconds.observe(labels, seconds);
  }

  inProgress(method: string, change: 1 | -1): void {
    this.#inProgress.inc({ method }, change);
  }

  countRefusal(code: string): void {
    this.#refusals.inc({ code });
  }

  countEvents(providerId: string, events: readonly CountedMergeEvent[]): void {
    for (const { type, waitedMs, heldMs, mergedBatchSize } of events) {
      this.#events.inc({ type });
      if (waitedMs !== undefined) this.#waitSeconds.observe(waitedMs / 1000);
      if (heldMs !== undefined) this.#holdSeconds.observe(heldMs / 1000);
      if (typeof mergedBatchSize === 'number')
        this.#batchSize.observe({ provider_id: this.#labelOf(providerId) }, mergedBatchSize);
    }
  }

  #labelOf(providerId: string): string {
    if (this.#providers.size < providersMax) this.#providers.add(providerId);
    return this.#providers.has(providerId) ? providerId : otherProviders;
  }

  #show(numbers: readonly MergeQueueNumbers[] | undefined): void {
    for (const gauge of [this.#leaseRequests, this.#pending, this.#oldestWait, this.#holderAge]) gauge.reset();
    for (const { queue, providerId, pending, known, oldestWaitMs, holderAgeMs } of numbers ?? []) {
      this.#leaseRequests.set({ provider_id: providerId }, known);
      this.#pending.set({ queue }, pending);
      if (oldestWaitMs !== null) this.#oldestWait.set({ queue }, oldestWaitMs / 1000);
      if (holderAgeMs !== null) this.#holderAge.set({ queue }, holderAgeMs / 1000);
    }
  }
}
