import { expect, test } from 'vitest';
import { goalsOf, ratiosOf } from './bench/ratios.ts';
import { Results } from './bench/results.ts';
import { median, quantile } from './bench/statistics.ts';

/** What others read out of the report. */
const promised = [
  'single_vs_fastify_post',
  'single_vs_one_update',
  'single_vs_etcd_gateway',
  'single_vs_graphile_default',
  'single_vs_pgboss_loop',
  'batch100_vs_best_queue_batch',
  'handoff_p99_vs_etcd_gateway',
  'hot_32_vs_1',
  'waiting_1m_vs_small',
  'queues_1m_vs_small',
  'history_10m_vs_small',
  'pinned_snapshot_vs_free',
  'limit_vs_none',
  'renew_hot_share',
  'waiting_1m_vs_small_buffers',
  'queues_1m_vs_small_buffers',
  'history_10m_vs_small_buffers',
];

test('every promised ratio is in the report, null where nothing was measured', () => {
  const ratios = ratiosOf([]);
  expect(Object.keys(ratios)).toEqual(expect.arrayContaining(promised));
  expect(Object.values(ratios).every((ratio) => ratio === null)).toBe(true);
  expect(Object.values(goalsOf(ratios, { isQuick: false })).every(({ reached }) => reached === null)).toBe(true);
});

test('every promised ratio has a goal', () => {
  expect(Object.keys(goalsOf(ratiosOf([]), { isQuick: false }))).toEqual(expect.arrayContaining(promised));
});

test('ratios are those of the medians, growth is cost over cost, the best batch peer is the one that counts', () => {
  const results = new Results();
  for (const rate of [5000, 6000, 9000]) results.add('pairs_64', 'signalbox', 'pairs/s', rate);
  for (const rate of [9000, 10_000, 30_000]) results.add('pairs_64', 'fastify_post', 'pairs/s', rate);
  results.add('pairs_64', 'one_update', 'pairs/s', 3000);
  results.add('pairs_batch_100', 'signalbox', 'pairs/s', 30_000);
  results.add('jobs_batch', 'graphile_best', 'jobs/s', 20_000);
  results.add('jobs_batch', 'pgboss_best', 'jobs/s', 25_000);
  results.add('growth_time', 'small', 'µs/pair', 200);
  results.add('growth_time', 'queues', 'µs/pair', 320);

  const ratios = ratiosOf(results.list());
  expect(ratios).toMatchObject({
    single_vs_fastify_post: 0.6,
    single_vs_one_update: 2,
    batch100_vs_best_queue_batch: 1.2,
    queues_1m_vs_small: 1.6,
    waiting_1m_vs_small: null,
    single_vs_etcd_gateway: null,
  });
  expect(goalsOf(ratios, { isQuick: false })).toMatchObject({
    single_vs_fastify_post: { goal: '>= 0.6', value: 0.6, reached: true },
    single_vs_one_update: { goal: '>= 3', value: 2, reached: false },
    queues_1m_vs_small: { goal: '<= 1.5', value: 1.6, reached: false },
    waiting_1m_vs_small: { value: null, reached: null },
  });
  // The quick tables are not of the size that the goal is about.
  expect(goalsOf(ratios, { isQuick: true })).toMatchObject({
    single_vs_one_update: { reached: false },
    queues_1m_vs_small: { value: 1.6, reached: null },
  });
});

test('results of one measure and contender are one row with its spread', () => {
  const results = new Results();
  for (const value of [3, 1, 2, 10]) results.add('m', 'c', 'ms', value);
  results.add('m', 'other', 'ms', 123.456);
  expect(results.list()).toEqual([
    { measure: 'm', contender: 'c', unit: 'ms', median: 2.5, min: 1, max: 10, runs: 4 },
    { measure: 'm', contender: 'other', unit: 'ms', median: 123.5, min: 123.5, max: 123.5, runs: 1 },
  ]);
});

test('a quantile is a value that was measured, and of none there is none', () => {
  const values = Array.from({ length: 100 }, (_, n) => 100 - n);
  expect([quantile(values, 0.5), quantile(values, 0.99), quantile(values, 1)]).toEqual([50, 99, 100]);
  expect([quantile([7], 0.99), median([7]), median([3, 1, 2])]).toEqual([7, 7, 2]);
  expect([quantile([], 0.5), median([])]).toEqual([NaN, NaN]);
});
