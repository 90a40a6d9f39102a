import { describe, expect, it } from 'vitest';
import type { TestDatabase } from '../support/database.ts';
import { everySetting } from '../support/every-setting.ts';
import { anId, held, type TestClient } from '../support/http-client.ts';
import { lineUp, shapeOf, untilWaiting } from '../support/test-app.ts';
import { oneReplica } from '../support/one-replica.ts';

let database: TestDatabase;
let client: TestClient;
oneReplica((parts) => ({ database, client } = parts));

const defaults = {
  concurrency_limit: 1,
  paused: false,
  default_ttl_ms: 30_000,
  max_ttl_ms: 300_000,
  waiting_ttl_ms: 60_000,
  max_hold_ms: null,
  lock_delay_ms: 0,
  max_runs: 10_000_000,
  max_attempts: 5,
  max_age_ms: null,
  retry_delay_ms: 1000,
  retry_delay_max_ms: 300_000,
  on_failure: null,
  priority_head_start_ms: null,
  rotate_by: null,
  retry_place: 'kept',
  supersede_by: null,
  cancel_in_progress: false,
  on_full: 'refuse',
  max_wait_ms: null,
  reserve_max_ms: 10_000,
  on_failover: 'quarantine',
  closed: false,
  cleanup: false,
};
const putIf = (queue: string, ifMatch: string, settings: object) =>
  fetch(`${client.url}/v1/queues/${queue}`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json', 'if-match': ifMatch },
    body: JSON.stringify(settings),
  });
const staleVersion = { status: 412, code: 'version_mismatch' };

describe('PUT of a queue', () => {
  it('makes it with the defaults and answers 200 with settings and state', async () => {
    const queue = anId('q');
    const reply = await client.put(queue, {});
    expect(reply.status).toBe(200);
    expect(reply.body).toMatchObject({ queue, ...defaults, auto_created: false });
    expect(shapeOf(reply.body)).toEqual({
      queue: 'string',
      concurrency_limit: 'integer',
      paused: 'boolean',
      default_ttl_ms: 'integer',
      max_ttl_ms: 'integer',
      waiting_ttl_ms: 'integer',
      max_waiting: 'integer',
      max_hold_ms: 'null',
      lock_delay_ms: 'integer',
      claim_memory_ms: 'integer',
      max_runs: 'integer',
      max_attempts: 'integer',
      max_age_ms: 'null',
      retry_delay_ms: 'integer',
      retry_delay_max_ms: 'integer',
      on_failure: 'null',
      priority_head_start_ms: 'null',
      rotate_by: 'null',
      retry_place: 'string',
      supersede_by: 'null',
      cancel_in_progress: 'boolean',
      on_full: 'string',
      max_wait_ms: 'null',
      reserve_max_ms: 'integer',
      on_failover: 'string',
      closed: 'boolean',
      cleanup: 'boolean',
      held: 'integer',
      waiting: 'integer',
      runs: 'integer',
      delayed: 'integer',
      blocked: 'boolean',
      dead_letters: 'integer',
      dirty: 'integer',
      cleaning: 'integer',
      draining: 'integer',
      oldest_wait_ms: 'null',
      version: 'integer',
      auto_created: 'boolean',
      created_at: 'instant',
      updated_at: 'instant',
      sources: 'object',
      holders: 'array',
      line: 'array',
      run_line: 'array',
    });
  });

  it('a queue never configured has the same defaults, and says that it was made on first use', async () => {
    const { queue } = await client.hold(anId('q'));
    expect((await client.queue(queue)).body).toMatchObject({ ...defaults, auto_created: true });
    expect((await client.put(queue, {})).body.auto_created).toBe(false);
  });

  it('keeps the value of absent fields, and null means none where it may', async () => {
    const queue = anId('q');
    const settings = { ...everySetting };
    await client.put(queue, settings);
    expect((await client.put(queue, {})).body).toMatchObject(settings);
    const none = {
      max_waiting: null,
      max_hold_ms: null,
      max_runs: null,
      max_age_ms: null,
      on_failure: null,
      priority_head_start_ms: null,
      rotate_by: null,
      supersede_by: null,
      max_wait_ms: null,
    };
    for (const [name, value] of Object.entries({ paused: false, ...none })) {
      Object.assign(settings, { [name]: value });
      expect((await client.put(queue, { [name]: value })).body).toMatchObject(settings);
    }
    expect((await client.queue(queue)).body).toMatchObject(settings);
  });

  it.each([
    { concurrency_limit: -1 },
    { concurrency_limit: '2' },
    { paused: null },
    { default_ttl_ms: 999 },
    { max_ttl_ms: 86_400_001 },
    { lock_delay_ms: -1 },
    { max_runs: -1 },
    { max_runs: 10_000_001 },
    { max_attempts: 0 },
    { max_attempts: 1001 },
    { max_attempts: null },
    { max_age_ms: 999 },
    { max_age_ms: 31_536_000_001 },
    { retry_delay_ms: -1 },
    { retry_delay_ms: 86_400_001 },
    { retry_delay_max_ms: null },
    { retry_delay_max_ms: 31_536_000_001 },
    { on_failure: 'skip' },
    { priority_head_start_ms: 0 },
    { rotate_by: '' },
    { retry_place: null },
    { supersede_by: 'x'.repeat(64) },
    { on_full: 'drop' },
    { max_wait_ms: 999 },
    { reserve_max_ms: 600_001 },
    { on_failover: 'wait' },
    { closed: null },
    { cleanup: 1 },
    { colour: 'red' },
  ])('%j is refused and makes no queue', async (settings) => {
    const queue = anId('q');
    expect(await client.put(queue, settings)).toMatchObject({ status: 400, body: { code: 'invalid_request' } });
    expect(await client.queue(queue)).toMatchObject({ status: 404, body: { code: 'queue_not_found' } });
  });

  it('a default_ttl_ms above max_ttl_ms is refused and changes nothing', async () => {
    const queue = anId('q');
    const before = (await client.put(queue, {})).body;
    for (const settings of [{ default_ttl_ms: 300_001 }, { max_ttl_ms: 29_999, paused: true }]) {
      expect(await client.put(queue, settings)).toMatchObject({ status: 400, body: { code: 'invalid_settings' } });
    }
    expect((await client.queue(queue)).body).toEqual(before);
  });

  it('where they contradict each other, a queue that was not there is not made', async () => {
    const queue = anId('q');
    const refused = await client.put(queue, { default_ttl_ms: 300_001 });
    expect(refused).toMatchObject({ status: 400, body: { code: 'invalid_settings' } });
    expect(await client.queue(queue)).toMatchObject({ status: 404, body: { code: 'queue_not_found' } });
  });
});

describe('ETag and If-Match', () => {
  it('a PUT that changes nothing keeps the version, and the feed does not tell of it', async () => {
    const queue = anId('q');
    const first = (await client.put(queue, { concurrency_limit: 3 })).headers.get('etag');
    for (const same of [{}, { concurrency_limit: 3 }]) {
      expect((await client.put(queue, same)).headers.get('etag')).toBe(first);
      expect(await putIf(queue, first ?? '', same)).toMatchObject({ status: 200 });
    }
    // The default, but from now on the queue's own: a pattern would not change it any more.
    expect((await client.put(queue, { max_runs: 10_000_000 })).headers.get('etag')).not.toBe(first);
    const { rows } = await database.query(`select from signalbox.events where queue = $1 and type = 'queue.changed'`, [
      queue,
    ]);
    expect(rows).toHaveLength(2);
  });

  it('GET gives the ETag that PUT gave; grants do not change it, settings do', async () => {
    const queue = anId('q');
    const first = (await client.put(queue, {})).headers.get('etag');
    expect(first).toMatch(/^"\d+"$/);
    await client.hold(queue);
    expect((await client.queue(queue)).headers.get('etag')).toBe(first);
    expect((await client.put(queue, { paused: true })).headers.get('etag')).not.toBe(first);
  });

  it('the present version passes, a stale one is 412 and changes nothing', async () => {
    const queue = anId('q');
    const stale = (await client.put(queue, {})).headers.get('etag') ?? '';
    const passed = await putIf(queue, stale, { concurrency_limit: 5 });
    expect(passed.status).toBe(200);
    const refused = await putIf(queue, stale, { concurrency_limit: 9 });
    expect(refused.status).toBe(412);
    expect(await refused.json()).toMatchObject(staleVersion);
    expect((await client.queue(queue)).body.concurrency_limit).toBe(5);
    const deleted = await fetch(`${client.url}/v1/queues/${queue}`, {
      method: 'DELETE',
      headers: { 'if-match': stale },
    });
    expect(deleted.status).toBe(412);
    expect((await client.queue(queue)).status).toBe(200);
  });

  it('on a queue that is not there is 412 and makes none', async () => {
    const queue = anId('q');
    for (const tag of ['"1"', '*']) expect(await (await putIf(queue, tag, {})).json()).toMatchObject(staleVersion);
    expect((await client.queue(queue)).status).toBe(404);
  });
});

describe('concurrency_limit, live', () => {
  it('raised, it grants to waiting long-polls at once, in order', async () => {
    const queue = anId('q');
    await client.hold(queue);
    const polled = [];
    for (const claim_id of ['a', 'b', 'c']) {
      polled.push(client.acquire(queue, { claim_id, wait_ms: 30_000 }));
      await untilWaiting(client, queue, polled.length);
    }
    const raised = await client.put(queue, { concurrency_limit: 3 });
    expect(raised.body).toMatchObject({ held: 3, waiting: 1, draining: 0 });
    const [a, b] = (await Promise.all(polled.slice(0, 2))).map(held);
    expect([a?.claim_id, b?.claim_id]).toEqual(['a', 'b']);
    expect(b?.fencing_token).toBeGreaterThan(a?.fencing_token ?? Infinity);
    expect(await client.get(queue, 'c')).toMatchObject({ body: { state: 'waiting', position: 1 } });
    await client.put(queue, { concurrency_limit: 4 });
    held(await (polled[2] ?? Promise.reject(new Error('no third'))));
  });

  it('raised or no longer paused, it wakes waiting takes', async () => {
    const queue = anId('q');
    await client.put(queue, { paused: true });
    for (const claim_id of ['a', 'b', 'c']) await client.enqueue(queue, { claim_id });
    const paused = client.take({ queue, wait_ms: 30_000 });
    await client.put(queue, { paused: false });
    expect((await paused).body.claims).toMatchObject([{ claim_id: 'a' }]);
    const full = client.take({ queue, max: 5, wait_ms: 30_000 });
    await client.put(queue, { concurrency_limit: 3 });
    expect((await full).body.claims).toMatchObject([{ claim_id: 'b' }, { claim_id: 'c' }]);
  });

  it('lowered, it takes nothing away and grants nothing until enough have left', async () => {
    const queue = anId('q');
    await client.put(queue, { concurrency_limit: 3 });
    const leases = [await client.hold(queue), await client.hold(queue), await client.hold(queue)];
    await lineUp(client, queue, 'next');
    expect((await client.put(queue, { concurrency_limit: 1 })).body).toMatchObject({ held: 3, draining: 2 });
    for (const [index, lease] of leases.entries()) {
      expect(await client.renew(lease)).toMatchObject({ status: 200 });
      expect(await client.get(queue, 'next')).toMatchObject({ body: { state: 'waiting' } });
      expect((await client.queue(queue)).body.draining).toBe(Math.max(0, 2 - index));
      await client.release(lease);
    }
    expect(await client.get(queue, 'next')).toMatchObject({ body: { state: 'held' } });
  });

  it('removed (null), it drains a line of 1,000 at once, page by page', async () => {
    const queue = anId('q');
    await client.put(queue, { concurrency_limit: 0 });
    const claims = Array.from({ length: 1000 }, (_, i) => ({
      op: 'acquire',
      queue,
      claim_id: `c${i}`,
      holder: `holder of c${i}`,
    }));
    await client.batch(claims);
    const unlimited = (await client.put(queue, { concurrency_limit: null })).body;
    expect(unlimited).toMatchObject({ concurrency_limit: null, held: 1000, waiting: 0, draining: 0 });
    expect(unlimited.holders).toHaveLength(100);
    expect(await client.acquire(queue)).toMatchObject({ status: 200 });
    // And back: everybody above the limit drains.
    expect((await client.put(queue, { concurrency_limit: 1 })).body).toMatchObject({ held: 1001, draining: 1000 });
  });

  it('lowered, removed and raised, it counts weights', async () => {
    const queue = anId('q');
    await client.put(queue, { concurrency_limit: 6 });
    const heavy = await client.hold(queue, { weight: 4 });
    const light = await client.hold(queue, { weight: 2 });
    await client.acquire(queue, { claim_id: 'a', holder: 'a', weight: 3 });
    await client.acquire(queue, { claim_id: 'b', holder: 'b' });
    expect((await client.put(queue, { concurrency_limit: 3 })).body).toMatchObject({ held: 2, draining: 3 });
    await client.release(heavy);
    // Two of three places are taken: a, which needs three, is not passed by b.
    expect((await client.queue(queue)).body).toMatchObject({ held: 1, draining: 0, waiting: 2 });
    expect((await client.put(queue, { concurrency_limit: 5 })).body).toMatchObject({ held: 2, waiting: 1 });
    expect((await client.put(queue, { concurrency_limit: 0 })).body).toMatchObject({ held: 2, draining: 5 });
    expect((await client.put(queue, { concurrency_limit: null })).body).toMatchObject({ held: 3, waiting: 0 });
    await client.release(light);
    expect((await client.queue(queue)).body).toMatchObject({ held: 2, draining: 0 });
  });

  it.each([{ concurrency_limit: 0 }, { paused: true }])(
    '%j grants nothing; holders renew and release; put back, the line moves',
    async (settings) => {
      const queue = anId('q');
      const lease = await client.hold(queue);
      await client.put(queue, settings);
      const polled = client.acquire(queue, { claim_id: 'next', wait_ms: 30_000 });
      await untilWaiting(client, queue, 1);
      expect(await client.renew(lease)).toMatchObject({ status: 200 });
      expect(await client.release(lease)).toMatchObject({ body: { released: true } });
      expect((await client.queue(queue)).body).toMatchObject({ held: 0, waiting: 1 });
      await client.put(queue, { concurrency_limit: 1, paused: false });
      expect(held(await polled).claim_id).toBe('next');
    },
  );
});

describe('ttl_ms and max_ttl_ms', () => {
  it('a ttl above max_ttl_ms is 400 ttl_too_long until that is raised, in acquire and renew', async () => {
    const queue = anId('q');
    const tooLong = { status: 400, body: { code: 'ttl_too_long', max_ttl_ms: 300_000 } };
    await client.put(queue, { concurrency_limit: 2 });
    const lease = await client.hold(queue);
    expect(await client.acquire(queue, { claim_id: 'long', ttl_ms: 300_001 })).toMatchObject(tooLong);
    expect(await client.renew(lease, { ttl_ms: 300_001 })).toMatchObject(tooLong);
    expect(await client.get(queue, 'long')).toMatchObject({ status: 404 });
    await client.put(queue, { max_ttl_ms: 86_400_000 });
    expect(await client.acquire(queue, { claim_id: 'long', ttl_ms: 86_400_000 })).toMatchObject({ status: 200 });
    expect(await client.renew(lease, { ttl_ms: 300_001 })).toMatchObject({ status: 200 });
  });

  it('an acquire without ttl_ms gets default_ttl_ms', async () => {
    const queue = anId('q');
    await client.put(queue, { default_ttl_ms: 5000 });
    expect(await client.acquire(queue)).toMatchObject({ status: 200, body: { ttl_ms: 5000 } });
  });

  it('a ttl that is too long leaves no queue behind', async () => {
    const queue = anId('q');
    expect(await client.acquire(queue, { ttl_ms: 86_400_000 })).toMatchObject({ body: { code: 'ttl_too_long' } });
    expect((await client.queue(queue)).status).toBe(404);
  });
});
