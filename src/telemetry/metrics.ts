import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';
import { LineMetrics } from './line-metrics.ts';
import { MergeQueueMetrics } from './merge-queue-metrics.ts';
import { WebhookMetrics } from './webhook-metrics.ts';

/** Read when a scrape comes, from this process's memory: only how lines and merge queues stand is asked of the database. */
export interface Gauges {
  readonly waitingClients: () => number;
  readonly waitingTakers: () => number;
  readonly waitingCleaners: () => number;
  readonly waitingBuilds: () => number;
  readonly pendingOperations: () => number;
  readonly isLeader: () => boolean;
  readonly leaderEpoch: () => number;
  readonly notificationsWork: () => boolean;
  readonly failover: () => { readonly failovers: number; readonly quarantineSeconds: number };
  readonly connections: () => Readonly<Record<string, { total: number; idle: number; waiting: number }>>;
}

/** What is counted of a decision. */
export interface CountedDecision {
  readonly code: string;
  readonly body: Readonly<Record<string, unknown>> | null;
}

/** The metrics of one replica, all named signalbox_…; the README lists them. */
export class Metrics {
  readonly #registry = new Registry();
  readonly #requests: Histogram<'method' | 'route' | 'status'>;
  readonly #batched: Counter<'op' | 'status'>;
  readonly #decisions: Counter<'code'>;
  readonly #releases: Counter<'state'>;
  readonly #deadLetters: Counter<'reason'>;
  readonly #batches: Histogram;
  readonly #chores: Histogram<'chore' | 'result'>;
  readonly #swept: Counter<'chore' | 'count'>;
  readonly #terms: Counter<'change'>;
  readonly lines: LineMetrics;
  /** Those of /merge-queue. */
  readonly mergeQueues: MergeQueueMetrics;
  /** Those of webhooks. */
  readonly webhooks: WebhookMetrics;

  constructor() {
    const registers = [this.#registry];
    collectDefaultMetrics({ register: this.#registry, prefix: 'signalbox_' });
    this.lines = new LineMetrics(this.#registry);
    this.mergeQueues = new MergeQueueMetrics(this.#registry);
    this.webhooks = new WebhookMetrics(this.#registry);
    this.#requests = new Histogram({
      name: 'signalbox_http_request_seconds',
      help: 'Time from the arrival of a request to its answer, waits included.',
      labelNames: ['method', 'route', 'status'],
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30, 60],
      registers,
    });
    this.#batched = new Counter({
      name: 'signalbox_batched_operations_total',
      help: 'Operations that came in calls of /v1/batch, by op and by the status each was answered with.',
      labelNames: ['op', 'status'],
      registers,
    });
    this.#decisions = new Counter({
      name: 'signalbox_decisions_total',
      help: 'Decisions made by calls of this replica, by outcome.',
      labelNames: ['code'],
      registers,
    });
    this.#releases = new Counter({
      name: 'signalbox_releases_total',
      help: 'Grants ended by calls of this replica, by where their claim is now (released, waiting, delayed, dead …).',
      labelNames: ['state'],
      registers,
    });
    this.#deadLetters = new Counter({
      name: 'signalbox_dead_letters_total',
      help: 'Runs kept as dead letters by calls of this replica, by reason (max_attempts, max_age, failure, skipped).',
      labelNames: ['reason'],
      registers,
    });
    this.#batches = new Histogram({
      name: 'signalbox_batch_operations',
      help: 'Operations per deciding call.',
      buckets: [1, 2, 5, 10, 20, 50, 100],
      registers,
    });
    this.#chores = new Histogram({
      name: 'signalbox_chore_seconds',
      help: "Rounds of the leader's chores.",
      labelNames: ['chore', 'result'],
      buckets: [0.001, 0.01, 0.1, 1, 10],
      registers,
    });
    this.#swept = new Counter({
      name: 'signalbox_swept_total',
      help: "What the leader's chores did.",
      labelNames: ['chore', 'count'],
      registers,
    });
    this.#terms = new Counter({
      name: 'signalbox_terms_total',
      help: 'Terms of this replica, by change (started, resigned, lost).',
      labelNames: ['change'],
      registers,
    });
  }

  readonly contentType = Registry.PROMETHEUS_CONTENT_TYPE;

  async text(): Promise<string> {
    await Promise.all([this.lines.refresh(), this.mergeQueues.refresh()]);
    return this.#registry.metrics();
  }

  observeRequest(route: string, method: string, status: number, seconds: number): void {
    this.#requests.observe({ route, method, status: String(status) }, seconds);
    this.mergeQueues.observeRequest(route, method, status, seconds);
  }

  countBatched(op: string, status: number, count: number): void {
    this.#batched.inc({ op, status: String(status) }, count);
  }

  /** Counts a whole call's decisions at once: a counter is found by its labels, which costs more than what it counts. */
  countDecisions(decisions: readonly CountedDecision[]): void {
    const codes = new Map<string, number>();
    const states = new Map<string, number>();
    for (const { code, body } of decisions) {
      // `ready` calls a worker and decides nothing.
      if (code === 'ready') continue;
      codes.set(code, (codes.get(code) ?? 0) + 1);
      const { state, reason, dead_letter: letter } = body ?? {};
      if ((code === 'released' || code === 'ended') && typeof state === 'string')
        states.set(state, (states.get(state) ?? 0) + 1);
      const diedOf = code === 'released' ? letter : state === 'dead' ? reason : undefined;
      if (typeof diedOf === 'string') this.#deadLetters.inc({ reason: diedOf });
    }
    for (const [code, count] of codes) this.#decisions.inc({ code }, count);
    for (const [state, count] of states) this.#releases.inc({ state }, count);
  }

  observeBatch(size: number): void {
    this.#batches.observe(size);
  }

  observeChore(
    chore: string,
    result: 'ok' | 'failed',
    seconds: number,
    counts: Readonly<Record<string, number>>,
  ): void {
    this.#chores.observe({ chore, result }, seconds);
    for (const [count, value] of Object.entries(counts)) if (value > 0) this.#swept.inc({ chore, count }, value);
  }

  countTerm(change: 'started' | 'resigned' | 'lost'): void {
    this.#terms.inc({ change });
  }

  /** Adds the gauges that are read from the parts of the running replica. */
  register(gauges: Gauges): void {
    const gauge = (name: string, help: string, read: () => number) =>
      new Gauge({
        name,
        help,
        registers: [this.#registry],
        collect() {
          this.set(read());
        },
      });
    gauge('signalbox_waiting_clients', 'Requests that wait for a grant on this replica.', gauges.waitingClients);
    gauge('signalbox_waiting_takers', 'Workers that wait for a run on this replica.', gauges.waitingTakers);
    gauge('signalbox_waiting_cleaners', 'Cleaners that wait for a dirty slot on this replica.', gauges.waitingCleaners);
    gauge('signalbox_waiting_builds', 'Builds that wait for a merge queue on this replica.', gauges.waitingBuilds);
    gauge('signalbox_pending_operations', 'Operations that wait to be sent to the database.', gauges.pendingOperations);
    gauge('signalbox_is_leader', '1 = this replica leads.', () => Number(gauges.isLeader()));
    gauge('signalbox_leader_epoch', 'Epoch of the term this replica leads, 0 = it does not.', gauges.leaderEpoch);
    gauge('signalbox_notifications_work', '1 = LISTEN works; 0 = waiters are woken by polls alone.', () =>
      Number(gauges.notificationsWork()),
    );
    gauge(
      'signalbox_database_failovers',
      'Failovers of the database that were seen.',
      () => gauges.failover().failovers,
    );
    gauge(
      'signalbox_quarantine_seconds',
      'How long the queue with the longest max_ttl_ms still grants nothing new after a failover; 0 = none.',
      () => gauges.failover().quarantineSeconds,
    );
    new Gauge({
      name: 'signalbox_database_connections',
      help: 'Database connections of this replica, by lane and state.',
      labelNames: ['lane', 'state'],
      registers: [this.#registry],
      collect() {
        for (const [lane, states] of Object.entries(gauges.connections())) {
          for (const [state, count] of Object.entries(states)) this.set({ lane, state }, count);
        }
      },
    });
  }
}
