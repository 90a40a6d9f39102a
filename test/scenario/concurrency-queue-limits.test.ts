import { describe, expect, it } from 'vitest';
import { readSettings } from '../../src/config/settings.ts';
import type { HeldClaim } from '../../src/protocol/claims.ts';
import type { TestDatabase } from '../support/database.ts';
import { anId, held, type TestClient, waiting } from '../support/http-client.ts';
import { oneReplica } from '../support/one-replica.ts';
import { startReplica } from '../support/replica.ts';
import { oneOf, rowsOf } from '../support/sql-verbs.ts';
import { lineUp, untilWaiting } from '../support/test-app.ts';
import { until } from '../support/until.ts';

/** Limits that change, and what is read of a line; the rows are in concurrency-queue-rows.ts. */
let database: TestDatabase;
let client: TestClient;
oneReplica((parts) => ({ database, client } = parts));

describe('limits', () => {
  it('P19: at 0 neither asking nor another’s end gives a place; unset, both do', async () => {
    const queue = anId('q');
    const lease = await client.hold(queue);
    await client.put(queue, { concurrency_limit: 0 });
    await lineUp(client, queue, 'a', 'b');
    await client.release(lease);
    expect((await client.queue(queue)).body).toMatchObject({ held: 0, waiting: 2 });
    await client.put(queue, { concurrency_limit: null });
    expect((await client.queue(queue)).body).toMatchObject({ held: 2, waiting: 0 });
    expect(await client.acquire(queue)).toMatchObject({ status: 200 });
  });

  it('P49, P73, L5, M11: a limit set and removed again is none, whoever waited before goes, and nothing fails', async () => {
    const queue = anId('q');
    await client.put(queue, { concurrency_limit: null });
    await client.put(queue, { concurrency_limit: 1 });
    await client.hold(queue);
    await lineUp(client, queue, 'a', 'b', 'c', 'd');
    const { status, body } = await client.put(queue, { concurrency_limit: null });
    expect(status).toBe(200);
    expect(body).toMatchObject({ concurrency_limit: null, held: 5, waiting: 0, draining: 0 });
    expect((await client.queue(queue)).body).toMatchObject({ concurrency_limit: null, held: 5, line: [] });
  });

  it('P72, M12: raised from 1 to 5, the four that wait go at once, though nobody has ended', async () => {
    const queue = anId('q');
    await client.hold(queue);
    const asking = ['a', 'b', 'c', 'd'].map((claim_id) => client.acquire(queue, { claim_id, wait_ms: 20_000 }));
    await untilWaiting(client, queue, 4);
    await client.put(queue, { concurrency_limit: 5 });
    for (const reply of await Promise.all(asking)) expect(reply.status).toBe(200);
    expect((await client.queue(queue)).body).toMatchObject({ held: 5, waiting: 0 });
  });

  it('P61: with a limit and cancel-in-progress a newer run asks the older of its branch to stop, and waits until it has', async () => {
    const queue = anId('q');
    await client.put(queue, { concurrency_limit: 2, supersede_by: 'branch', cancel_in_progress: true });
    const push = (claim_id: string, branch: string) =>
      client.ask<HeldClaim>('POST', `/v1/queues/${queue}/acquire`, {
        claim_id,
        holder: claim_id,
        mode: 'latest_only',
        labels: { branch },
      });
    const [main, dev] = [await push('main-1', 'main'), await push('dev-1', 'dev')];
    expect([main.status, dev.status]).toEqual([200, 200]);
    expect((await push('main-2', 'main')).status).toBe(202);
    expect((await push('main-3', 'main')).status).toBe(202);
    expect(await client.get(queue, 'main-2')).toMatchObject({ body: { state: 'superseded' } });
    expect((await client.renew(main.body)).body.release_requested).toBe(true);
    expect((await client.renew(dev.body)).body.release_requested).toBe(false);
    expect((await client.queue(queue)).body).toMatchObject({ held: 2, waiting: 1 });
    await client.release(main.body, { outcome: 'cancelled' });
    expect(await client.get(queue, 'main-3')).toMatchObject({ body: { state: 'held', release_requested: false } });
  });

  it('P59: a change of one queue moves its own line and no other', async () => {
    const prefix = anId('p59');
    const [one, other] = [`${prefix}/one`, `${prefix}/other`];
    for (const queue of [one, other]) {
      await client.hold(queue);
      await lineUp(client, queue, 'next');
    }
    const rowOf = (queue: string) =>
      oneOf(database, 'select xmin::text, * from signalbox.lines where queue = $1', [queue]);
    const before = await rowOf(other);
    await client.put(one, { concurrency_limit: 2 });
    expect((await client.queue(one)).body).toMatchObject({ held: 2, waiting: 0 });
    expect((await client.queue(other)).body).toMatchObject({ held: 1, waiting: 1 });
    expect(await rowOf(other)).toEqual(before);
  });

  it('L6: a place that comes free beside a long holder goes on', async () => {
    const queue = anId('q');
    await client.put(queue, { concurrency_limit: 2 });
    await client.hold(queue, { claim_id: 'long' });
    const short = await client.hold(queue);
    await lineUp(client, queue, 'next');
    await client.release(short, { outcome: 'failure' });
    expect(held(await client.get(queue, 'next')).state).toBe('held');
  });

  it('L4: three places that come free in one call are given to the three that wait first, and told to all of them', async () => {
    const queue = anId('q');
    await client.put(queue, { concurrency_limit: 3 });
    const leases = [await client.hold(queue), await client.hold(queue), await client.hold(queue)];
    const asking: ReturnType<TestClient['acquire']>[] = [];
    for (const claim_id of ['a', 'b', 'c', 'd']) {
      asking.push(client.acquire(queue, { claim_id, wait_ms: claim_id === 'd' ? 0 : 20_000 }));
      await untilWaiting(client, queue, asking.length);
    }
    await client.batch(
      leases.map(({ claim_id, fencing_token }) => ({ op: 'release', queue, claim_id, fencing_token })),
    );
    expect((await Promise.all(asking)).map(({ status }) => status)).toEqual([200, 200, 200, 202]);
  });
});

describe('times', () => {
  it.each(['0', '-1'])('P26: an interval of %s is refused when a replica starts', (value) => {
    for (const name of ['LEADER_LEASE_SECONDS', 'QUEUE_IDLE_SECONDS', 'LINE_WAIT_MS'])
      expect(() => readSettings({ DATABASE_URL: 'postgres://host/db', [name]: value })).toThrow(name);
  });

  it('L3: a replica whose own clock is an hour ahead, or behind, gives and ends leases like any other', async () => {
    const queue = anId('q');
    for (const hours of [1, -1]) {
      const skewed = `const real = Date, ms = ${hours * 3_600_000};
        globalThis.Date = class extends real {
          constructor(...parts) { super(...(parts.length === 0 ? [real.now() + ms] : parts)); }
          static now() { return real.now() + ms; }
        };`;
      await using replica = await startReplica({
        databaseUrl: database.url,
        directUrl: database.directUrl,
        env: { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(skewed)}` },
      });
      const loggedAt = Date.parse(/"time":"([^"]+)"/.exec(replica.log)?.[1] ?? '');
      expect(Math.abs(loggedAt - new Date().getTime() - hours * 3_600_000)).toBeLessThan(600_000);
      const ours = await client.hold(queue, { ttl_ms: 60_000 });
      const wish = { claim_id: `wish-${hours}`, holder: 'skewed', ttl_ms: 60_000 };
      expect(await replica.client.acquire(queue, wish)).toMatchObject({ status: 202 });
      await client.release(ours);
      const theirs = held(await replica.client.acquire(queue, wish));
      expect(theirs.ttl_remaining_ms).toBeGreaterThan(50_000);
      expect(theirs.ttl_remaining_ms).toBeLessThanOrEqual(60_000);
      expect(held(await client.get(queue, theirs.claim_id)).expires_at).toBe(theirs.expires_at);
      expect(await client.acquire(queue, { mode: 'skip_if_busy' })).toMatchObject({ status: 409 });
      await client.release(theirs);
    }
  });
});

describe('what is told of a line', () => {
  it('L7: being asked for its place again and again writes nothing to a claim or its line, and tells the feed nothing', async () => {
    const queue = anId('q');
    await client.hold(queue);
    await lineUp(client, queue, 'a', 'b');
    const rows = async () => [
      await rowsOf(database, 'select ctid::text, xmin::text from signalbox.waiting where queue = $1', [queue]),
      await rowsOf(database, 'select ctid::text, xmin::text from signalbox.leases where queue = $1', [queue]),
      await rowsOf(database, 'select ctid::text, xmin::text from signalbox.lines where queue = $1', [queue]),
      await rowsOf(database, 'select id::text from signalbox.events where queue = $1 order by id', [queue]),
    ];
    const before = await rows();
    for (let round = 0; round < 5; round++) {
      for (const claim_id of ['a', 'b']) {
        await client.acquire(queue, { claim_id, holder: `holder of ${claim_id}` });
        await client.get(queue, claim_id);
      }
      await client.queue(queue);
    }
    expect(await rows()).toEqual(before);
  });

  it('L9: a position is one number, whoever is asked: acquire, GET, the queue, the view', async () => {
    const queue = anId('q');
    await client.hold(queue);
    await lineUp(client, queue, 'a', 'b', 'c');
    await client.cancel(queue, 'a');
    const asked = waiting(await client.acquire(queue, { claim_id: 'c', holder: 'holder of c' }));
    const { line } = (await client.queue(queue)).body;
    const viewed = await oneOf<{ position: string }>(
      database,
      `select position from signalbox_v1.line where queue = $1 and claim_id = 'c'`,
      [queue],
    );
    const seen = [
      Number(viewed.position),
      asked.position,
      asked.ahead + 1,
      waiting(await client.get(queue, 'c')).position,
      line.find(({ claim_id }) => claim_id === 'c')?.position,
    ];
    expect(seen).toEqual([2, 2, 2, 2, 2]);
  });

  it('M6: a lease whose release got no answer is released by asking again, and its place goes on once', async () => {
    const queue = anId('q');
    const lease = await client.hold(queue);
    await lineUp(client, queue, 'a', 'b');
    const gone = new AbortController();
    const first = client
      .ask(
        'POST',
        `/v1/queues/${queue}/claims/${lease.claim_id}/release`,
        { fencing_token: lease.fencing_token },
        {
          signal: gone.signal,
        },
      )
      .catch(() => undefined);
    gone.abort();
    await first;
    await client.release(lease);
    await until(async () => (await client.queue(queue)).body.held === 1, { what: 'the next one has the place' });
    expect((await client.queue(queue)).body).toMatchObject({ held: 1, line: [{ claim_id: 'b' }] });
    expect(await client.release(lease)).toMatchObject({ status: 200, body: { released: false, reason: 'released' } });
  });
});
