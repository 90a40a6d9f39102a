import pg from 'pg';
import { expect, test } from 'vitest';
import { held } from '../support/http-client.ts';
import { startReplica } from '../support/replica.ts';
import { type Standby, standbyOf } from '../support/standby.ts';
import { stoppableServer } from '../support/stoppable-server.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';

/** Long enough for all that is asked in a quarantine, on a machine that is busy. */
const ttlMs = 20_000;

test('a grant that an asynchronous failover lost: nobody else has its place before its holder gives up', async () => {
  await using primary = await stoppableServer();
  await using standby = await standbyOf(primary);
  await using address = await TcpProxy.to(primary.url);
  const databaseUrl = address.through(primary.url);
  await using a = await startReplica({ databaseUrl });
  await using b = await startReplica({ databaseUrl });
  const [{ client }, other] = [a, b.client];
  await client.put('deploy', { max_ttl_ms: ttlMs, default_ttl_ms: ttlMs });
  await client.put('free', { on_failover: 'immediate' });
  const kept = await client.hold('kept', { ttl_ms: 120_000 });
  await expectWholeFeed(primary.url, standby);
  const { epoch } = (await client.orchestrator()).body;

  await standby.cutOff();
  const believedFrom = performance.now();
  const lost = await client.hold('deploy', { claim_id: 'lost' });
  await primary.stop('immediate');
  await standby.promote();
  address.moveTo(standby.url);
  for (const each of [client, other])
    await until(async () => (await each.ready()).status === 200, { what: 'the replica has moved', timeoutMs: 15_000 });

  // Who waits is in line; who does not is told when to come back; the lost holder hears why.
  const next = other.acquire('deploy', { claim_id: 'next', wait_ms: 60_000 });
  const refused = await client.acquire('deploy', { mode: 'skip_if_busy' });
  expect(refused).toMatchObject({ status: 503, body: { code: 'quarantined' } });
  const retryAfterSeconds = Number(refused.headers.get('retry-after'));
  expect(retryAfterSeconds).toBeGreaterThan(0);
  expect(retryAfterSeconds).toBeLessThanOrEqual(ttlMs / 1000);
  expect(await client.acquire('deploy', { claim_id: 'third' })).toMatchObject({
    status: 202,
    body: { waiting_for: 'quarantine' },
  });
  expect(await client.renew(lost)).toMatchObject({ status: 410, body: { code: 'lease_lost', reason: 'failover' } });
  expect((await client.release(lost)).body).toEqual({ released: false, reason: 'failover' });
  // What was there before goes on, and a queue that may grants.
  expect((await other.renew(kept)).status).toBe(200);
  expect((await client.acquire('free')).status).toBe(200);
  const { failover } = (await other.orchestrator()).body;
  expect(failover).toMatchObject({ timeline: '00000002', previous: '00000001', accepted_at: null });
  expect(failover?.quarantine_ms).toBeGreaterThan(0);
  for (const replica of [a, b])
    await until(() => replica.log.includes('the database failed over'), { what: 'it is in the log' });
  expect(await (await fetch(`${a.url}/metrics`)).text()).toMatch(/^signalbox_database_failovers 1$/m);

  const got = held(await next);
  expect(performance.now() - believedFrom).toBeGreaterThan(ttlMs);
  expect(got.fencing_token).toBeGreaterThan(lost.fencing_token);
  expect(await standby.query(`select data from signalbox.events where type = 'database.failover'`)).toEqual([
    { data: { previous: '00000001', timeline: '00000002' } },
  ]);
  // Terms that were lost may not come again either: after a failover epochs follow the clock.
  await standby.query(
    `update signalbox.orchestrator_lock set expires_at = clock_timestamp() - interval '1 minute', leader = ''`,
  );
  await until(async () => (await client.orchestrator()).body.epoch > epoch + 1_000_000_000, { what: 'a new term' });
}, 120_000);

/** A reader of the standby is not told of an event while a transaction that began before it may still write one. */
async function expectWholeFeed(primaryUrl: string, standby: Standby): Promise<void> {
  const [slow, quick] = [new pg.Client(primaryUrl), new pg.Client(primaryUrl)];
  await Promise.all([slow.connect(), quick.connect()]);
  const record = (on: pg.Client, id: string) =>
    on.query(`select signalbox.record_event('claim.queued', 'feed', $1, '{}')`, [id]);
  const feed = () => standby.query(`select claim_id from signalbox_v1.read_events('0', 0, 'feed', '', 10)`);
  await slow.query('begin');
  await record(slow, 'first');
  await record(quick, 'second');
  const old = `select from signalbox.events where claim_id = 'second' and at < clock_timestamp() - interval '600 ms'`;
  await until(async () => (await standby.query(old)).length === 1, { what: 'the standby has had it for a while' });
  expect(await feed()).toEqual([]);
  await slow.query('commit');
  await until(async () => (await feed()).length === 2, { what: 'the standby has both' });
  expect(await feed()).toEqual([{ claim_id: 'first' }, { claim_id: 'second' }]);
  await Promise.all([slow.end(), quick.end()]);
}
