import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { moveClock } from '../support/database-clock.ts';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { aBuild, aMergeQueue, MergeQueueClient } from '../support/merge-queue-client.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';
import { startTestApp, type TestApp, withoutLeader } from '../support/test-app.ts';
import { until } from '../support/until.ts';

let database: TestDatabase;
let app: TestApp;
let client: MergeQueueClient;

beforeAll(async () => {
  database = await freshDatabase();
  await withoutLeader(database);
  app = await startTestApp(database, { MERGE_QUEUE_EXPECTED_COUNT: '3' });
  client = new MergeQueueClient(app.url);
});
afterAll(async () => {
  await app[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

async function scrape(url = app.url): Promise<string> {
  const response = await fetch(`${url}/metrics`);
  expect(response.status).toBe(200);
  return response.text();
}

/** The value of one series; 0 if there is none. */
function valueIn(text: string, series: string): number {
  const line = text.split('\n').find((known) => known.startsWith(`${series} `));
  return line === undefined ? 0 : Number(line.slice(series.length + 1));
}

const original = 'aks_mq_lease_service_';

describe('6. metrics under the names of mq-lease-service', () => {
  it('lease requests and merged batch size by provider', async () => {
    const queue = aMergeQueue();
    const label = `{provider_id="${queue.replaceAll('/', ':')}"}`;
    const known = async () => valueIn(await scrape(), `${original}provider_lease_requests_total${label}`);
    for (const number of [1, 2, 3]) {
      await client.acquire(queue, aBuild(number));
      expect(await known()).toBe(number);
    }
    await client.release(queue, { ...aBuild(3), status: 'success' });
    expect(await known()).toBe(2);
    await client.acquire(queue, aBuild(1));
    await client.acquire(queue, aBuild(2));
    const text = await scrape();
    expect(text).toContain(`${original}provider_lease_requests_total${label} 0`);
    expect(valueIn(text, `${original}provider_merged_batch_size_sum${label}`)).toBe(3);
    const bucketLabel = label.replace('{', '{le="20",');
    expect(valueIn(text, `${original}provider_merged_batch_size_bucket${bucketLabel}`)).toBe(1);
    const bounds = [...text.matchAll(/provider_merged_batch_size_bucket\{le="([^"]+)"/g)].map((match) => match[1]);
    expect([...new Set(bounds)]).toEqual(['1', '2', '3', '4', '5', '6', '7', '10', '15', '20', '+Inf']);
  });

  it('requests of /merge-queue by status, method and route, and no others', async () => {
    const queue = aMergeQueue();
    const calls: [method: string, path: string, status: number, route: string, body?: unknown][] = [
      ['GET', '/merge-queue', 200, 'providers.list'],
      ['HEAD', '/merge-queue/', 200, 'providers.list'],
      ['GET', `/merge-queue/${queue}`, 200, 'provider.show'],
      ['DELETE', `/merge-queue/${queue}/`, 200, 'provider.clear'],
      ['POST', `/merge-queue/${queue}/acquire`, 200, 'provider.acquire', aBuild(1)],
      ['POST', `/merge-queue/${queue}/acquire`, 422, 'provider.acquire', '{'],
      ['POST', `/merge-queue/${queue}/release`, 400, 'provider.release', { ...aBuild(1), status: 'success' }],
      ['POST', `/merge-queue/${queue}/renew`, 409, 'provider.renew', { head_sha: 'a', fencing_token: 1 }],
    ];
    for (const [method, path, status, route, body] of calls) {
      const labels = `{status_code="${status}",method="${method}",route_name="${route}"}`;
      const count = async () => valueIn(await scrape(), `${original}http_requests_total${labels}`);
      const before = await count();
      expect((await client.ask(method, path, { body })).status).toBe(status);
      await until(async () => (await count()) === before + 1, { what: `${method} ${path} is counted` });
      expect(valueIn(await scrape(), `${original}http_request_duration_seconds_count${labels}`)).toBe(before + 1);
    }
    await client.ask('GET', '/merge-queue/a');
    const text = await scrape();
    const routes = [...text.matchAll(/http_requests_total\{.*route_name="([^"]*)"/g)].map((match) => match[1]);
    expect([...new Set(routes)].sort()).toEqual([...new Set(calls.map(([, , , route]) => route))].sort());
    const bounds = [...text.matchAll(/http_request_duration_seconds_bucket\{le="([^"]+)"/g)].map((match) => match[1]);
    const distinct = [...new Set(bounds)];
    expect([distinct.length, distinct[0], distinct.at(-2), distinct.at(-1)]).toEqual([35, '1e-9', '30', '+Inf']);
  });

  it('requests under way, those that wait included', async () => {
    const queue = aMergeQueue();
    const underWay = async () => valueIn(await scrape(), `${original}requests_in_progress_total{method="POST"}`);
    await until(async () => (await underWay()) === 0, { what: 'nothing is under way' });
    const gone = new AbortController();
    const waiting = client.acquire(queue, aBuild(1, { wait_ms: 60_000 }), { signal: gone.signal });
    await until(async () => (await underWay()) === 1, { what: 'one call is under way' });
    gone.abort();
    await expect(waiting).rejects.toThrow();
    await until(async () => (await underWay()) === 0, { what: 'nothing is under way' });
  });
});

describe('our metrics of merge queues', () => {
  it('tell who waits, for how long, and how long the holder has held', async () => {
    await using own = await freshDatabase();
    await withoutLeader(own);
    await using replica = await startTestApp(own, { MERGE_QUEUE_EXPECTED_COUNT: '2' });
    const calls = new MergeQueueClient(replica.url);
    const queue = aMergeQueue();
    const gauge = (text: string, name: string) =>
      valueIn(text, `signalbox_merge_queue_${name}{queue="merge-queue/${queue}"}`);
    await calls.acquire(queue, aBuild(1));
    await moveClock(own, 20_000);
    const waits = await scrape(replica.url);
    expect(gauge(waits, 'pending')).toBe(1);
    expect(gauge(waits, 'oldest_wait_seconds')).toBeGreaterThanOrEqual(20);
    expect(waits).not.toContain('signalbox_merge_queue_holder_age_seconds{');
    await calls.acquire(queue, aBuild(2));
    await moveClock(own, 50_000);
    const held = await scrape(replica.url);
    expect(gauge(held, 'pending')).toBe(1);
    expect(gauge(held, 'holder_age_seconds')).toBeGreaterThanOrEqual(30);
    expect(gauge(held, 'holder_age_seconds')).toBeLessThan(45);
    await calls.release(queue, { ...aBuild(2), status: 'failure' });
    await calls.acquire(queue, aBuild(1));
    const text = await scrape(replica.url);
    expect(valueIn(text, 'signalbox_merge_queue_hold_seconds_count')).toBe(1);
    expect(valueIn(text, 'signalbox_merge_queue_hold_seconds_sum')).toBeGreaterThanOrEqual(30);
    expect(valueIn(text, 'signalbox_merge_queue_wait_seconds_count')).toBe(2);
    expect(valueIn(text, 'signalbox_merge_queue_wait_seconds_sum')).toBeGreaterThanOrEqual(50);
    for (const [type, count] of [
      ['registered', 2],
      ['acquired', 2],
      ['failed', 1],
    ] as const)
      expect(valueIn(text, `signalbox_merge_queue_events_total{type="merge_request.${type}"}`), type).toBe(count);
  });

  it('count refusals by code', async () => {
    const queue = aMergeQueue();
    const count = async (code: string) =>
      valueIn(await scrape(), `signalbox_merge_queue_refusals_total{code="${code}"}`);
    const refusals: [code: string, body: unknown][] = [
      ['nothing_held', { ...aBuild(1), status: 'success' }],
      ['invalid_request', {}],
      ['invalid_json', '{'],
    ];
    for (const [code, body] of refusals) {
      const before = await count(code);
      await client.release(queue, body);
      await until(async () => (await count(code)) === before + 1, { what: `${code} is counted` });
    }
    await client.ask('GET', '/merge-queue/a');
    await until(async () => (await count('route_not_found')) > 0, { what: 'an unknown route is counted' });
  });

  it('leave out what is in the database while it is away, and a scrape answers all the same', async () => {
    await using proxy = await TcpProxy.to(database.url);
    await using replica = await startTestApp(database, { DATABASE_URL: proxy.through(database.url) });
    const queue = aMergeQueue();
    await new MergeQueueClient(replica.url).acquire(queue, aBuild(1));
    const series = `signalbox_merge_queue_pending{queue="merge-queue/${queue}"}`;
    expect(await scrape(replica.url)).toContain(series);
    proxy.freeze();
    const text = await scrape(replica.url);
    proxy.thaw();
    expect(text).not.toContain(series);
    expect(text).toContain('signalbox_is_leader');
    expect(valueIn(text, 'signalbox_merge_queue_events_total{type="merge_request.registered"}')).toBe(1);
  });
});
