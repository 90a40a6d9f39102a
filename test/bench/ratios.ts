import type { Result } from './results.ts';
import { fourDigits } from './statistics.ts';

/** A figure of the results, by measure and contender; undefined where it was not measured. */
type Figure = (measure: string, contender: string) => number | undefined;

const single = (figure: Figure) => figure('pairs_64', 'signalbox');

function divide(above: number | undefined, below: number | undefined): number | null {
  if (above === undefined || below === undefined || !(below > 0)) return null;
  return fourDigits(above / below);
}

/** The best of all; undefined unless all are there, for the best may be the one that is not. */
function best(...values: readonly (number | undefined)[]): number | undefined {
  const known = values.filter((value) => value !== undefined);
  return known.length < values.length ? undefined : Math.max(...known);
}

/** Cost of a pair with big tables over its cost with small ones: 1 = the same, more = dearer. */
const timeGrowth = (grown: string) => (figure: Figure) =>
  divide(figure('growth_time', grown), figure('growth_time', 'small'));
const bufferGrowth = (grown: string) => (figure: Figure) =>
  divide(figure('growth_buffers', grown), figure('growth_buffers', 'small'));

/** Every ratio of the report, each of two medians of this run. */
const formulas = {
  single_vs_fastify_post: (figure) => divide(single(figure), figure('pairs_64', 'fastify_post')),
  single_vs_one_update: (figure) => divide(single(figure), figure('pairs_64', 'one_update')),
  single_vs_etcd_gateway: (figure) => divide(single(figure), figure('pairs_64', 'etcd_gateway')),
  single_vs_graphile_default: (figure) => divide(single(figure), figure('jobs_single', 'graphile_default')),
  single_vs_pgboss_loop: (figure) => divide(single(figure), figure('jobs_single', 'pgboss_loop')),
  batch100_vs_best_queue_batch: (figure) =>
    divide(
      figure('pairs_batch_100', 'signalbox'),
      best(figure('jobs_batch', 'graphile_best'), figure('jobs_batch', 'pgboss_best')),
    ),
  handoff_p99_vs_etcd_gateway: (figure) =>
    divide(figure('hand_off_p99', 'signalbox'), figure('hand_off_p99', 'etcd_gateway')),
  hot_32_vs_1: (figure) => divide(figure('hot_queue_32', 'signalbox'), figure('hot_queue_1', 'signalbox')),
  waiting_1m_vs_small: timeGrowth('waiting'),
  queues_1m_vs_small: timeGrowth('queues'),
  history_10m_vs_small: timeGrowth('history'),
  pinned_snapshot_vs_free: (figure) =>
    divide(figure('paced_pairs', 'snapshot_pinned'), figure('paced_pairs', 'snapshot_free')),
  limit_vs_none: (figure) => divide(figure('limit', 'limit_10'), figure('limit', 'limit_none')),
  renew_hot_share: (figure) => figure('renew_hot_share', 'signalbox') ?? null,
  waiting_1m_vs_small_buffers: bufferGrowth('waiting'),
  queues_1m_vs_small_buffers: bufferGrowth('queues'),
  history_10m_vs_small_buffers: bufferGrowth('history'),
  hand_off_p50_ms: (figure) => figure('hand_off_p50', 'signalbox') ?? null,
  hand_off_across_p99_ms: (figure) => figure('hand_off_p99', 'signalbox_across_3_replicas') ?? null,
  hot_32_vs_update_retry: (figure) =>
    divide(figure('hot_queue_32', 'signalbox'), figure('hot_queue_32', 'update_retry_raw')),
  hot_32_vs_http_retry_at_once: (figure) =>
    divide(figure('hot_queue_32', 'signalbox'), figure('hot_queue_32', 'one_update_retry_at_once')),
  hot_32_vs_http_retry_5_to_15_ms: (figure) =>
    divide(figure('hot_queue_32', 'signalbox'), figure('hot_queue_32', 'one_update_retry_5_to_15_ms')),
  renew_vs_one_update: (figure) => divide(figure('renewals_64', 'signalbox'), figure('renewals_64', 'one_update')),
  waiters_connections: (figure) => figure('waiters_connections', 'signalbox') ?? null,
  waiters_queries_per_second: (figure) => figure('waiters_queries', 'signalbox') ?? null,
  pinned_unpaced_vs_free: (figure) =>
    divide(figure('unpaced_pairs', 'snapshot_pinned'), figure('unpaced_pairs', 'snapshot_free')),
} as const satisfies Record<string, (figure: Figure) => number | null>;

export type RatioName = keyof typeof formulas;
export type Ratios = Readonly<Record<RatioName, number | null>>;

interface Goal {
  readonly atLeast?: number;
  readonly atMost?: number;
}

/** What the product must reach. */
const wanted: Partial<Record<RatioName, Goal>> = {
  single_vs_fastify_post: { atLeast: 0.6 },
  single_vs_one_update: { atLeast: 3 },
  single_vs_etcd_gateway: { atLeast: 3 },
  single_vs_graphile_default: { atLeast: 3 },
  single_vs_pgboss_loop: { atLeast: 5 },
  batch100_vs_best_queue_batch: { atLeast: 1.2 },
  handoff_p99_vs_etcd_gateway: { atMost: 0.5 },
  hand_off_p50_ms: { atMost: 1.2 },
  hand_off_across_p99_ms: { atMost: 15 },
  hot_32_vs_1: { atLeast: 1 },
  hot_32_vs_update_retry: { atLeast: 3 },
  waiting_1m_vs_small: { atMost: 1.5 },
  queues_1m_vs_small: { atMost: 1.5 },
  history_10m_vs_small: { atMost: 1.5 },
  waiting_1m_vs_small_buffers: { atMost: 1.2 },
  queues_1m_vs_small_buffers: { atMost: 1.2 },
  history_10m_vs_small_buffers: { atMost: 1.2 },
  waiters_connections: { atMost: 2 },
  waiters_queries_per_second: { atMost: 20 },
  pinned_snapshot_vs_free: { atLeast: 0.8 },
  limit_vs_none: { atLeast: 0.9 },
  renew_hot_share: { atLeast: 0.95 },
  renew_vs_one_update: { atLeast: 3 },
};

function isAboutSize(name: string): boolean {
  return /_1m_|_10m_/.test(name);
}

export interface GoalReport {
  readonly goal: string;
  readonly value: number | null;
  /** null: not measured in this run, or not at the sizes the goal is about. */
  readonly reached: boolean | null;
}

/** All ratios; null where this run did not show it. */
export function ratiosOf(results: readonly Result[]): Ratios {
  const figure: Figure = (measure, contender) =>
    results.find((result) => result.measure === measure && result.contender === contender)?.median;
  return Object.fromEntries(Object.entries(formulas).map(([name, formula]) => [name, formula(figure)])) as Ratios;
}

/** `isQuick`: growth was shown with smaller tables than its goals are about, so they stand open. */
export function goalsOf(ratios: Ratios, { isQuick }: { isQuick: boolean }): Partial<Record<RatioName, GoalReport>> {
  return Object.fromEntries(
    Object.entries(wanted).map(([name, { atLeast = -Infinity, atMost = Infinity }]) => {
      const value = ratios[name as RatioName];
      const goal = atLeast > -Infinity ? `>= ${atLeast}` : `<= ${atMost}`;
      const isShown = value !== null && !(isQuick && isAboutSize(name));
      return [name, { goal, value, reached: isShown ? value >= atLeast && value <= atMost : null }];
    }),
  );
}
