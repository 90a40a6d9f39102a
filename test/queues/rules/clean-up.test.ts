import { describe, expect, test } from 'vitest';
import { openRacer, waitPatiently } from '../../support/blocked.ts';
import { moveClock } from '../../support/database-clock.ts';
import { freshDatabase } from '../../support/database.ts';
import { expectSoundQueues } from '../../support/sound-queues.ts';
import { clean, cleanOne, makeQueues, oneOf, onQueue, rowsOf, takeExactly } from '../../support/sql-verbs.ts';

/** A queue of two places with clean-up, narrow or wide. */
async function queueWithCleanUp(settings: object = {}) {
  const db = await freshDatabase();
  await waitPatiently(db);
  await makeQueues(db, ['q']);
  const queue = onQueue(db, 'q');
  await queue.configure({ concurrency_limit: 2, cleanup: true, ...settings });
  const dirty = async () =>
    (
      await rowsOf<{ slot: number }>(
        db,
        `select slot from signalbox.leases where queue = 'q' and free_after = 'infinity' order by slot`,
      )
    ).map(({ slot }) => slot);
  return { db, queue, dirty, [Symbol.asyncDispose]: () => db[Symbol.asyncDispose]() };
}

describe.each([
  ['narrow', 2],
  ['wide', 300],
])('a %s queue', (_, limit) => {
  test('a released slot goes to nobody before a cleaner has released it, and to the line in the same commit', async () => {
    await using at = await queueWithCleanUp({ concurrency_limit: limit });
    const { db, queue, dirty } = at;
    await makeFull(queue, limit);
    const token = await tokenOf(db, 'c1');
    expect((await queue.acquire('next')).code).toBe('waiting');
    expect((await queue.release('c1', token, { outcome: 'failure' })).code).toBe('released');
    expect((await queue.advance()).filter(({ code }) => code === 'held')).toEqual([]);
    expect(await dirty()).toEqual([1]);
    expect((await queue.look('next')).body.waiting_for).toBe('cleanup');

    const cleaning = await cleanOne(db, 'q', { holder: 'mop' });
    expect(cleaning.body).toMatchObject({
      kind: 'cleaning',
      state: 'held',
      slot: 1,
      holder: 'mop',
      attempt: 1,
      previous: { claim_id: 'c1', kind: 'claim', fencing_token: token, state: 'released', outcome: 'failure' },
    });
    expect(cleaning.body.fencing_token).toBeGreaterThan(token);
    expect((await clean(db, 'q')).claims).toEqual([]);
    expect((await queue.look('next')).body).toMatchObject({ waiting_for: 'cleanup' });
    expect((await queue.advance()).filter(({ code }) => code === 'held')).toEqual([]);
    await expectSoundQueues(db);

    expect((await queue.release(cleaning.claim_id ?? '', cleaning.body.fencing_token)).code).toBe('released');
    expect((await queue.look('next')).body).toMatchObject({ state: 'held', slot: 1 });
    expect(await dirty()).toEqual([]);
    await expectSoundQueues(db);
  });

  test('turning clean-up off frees dirty slots at once; a cleaner at work goes on', async () => {
    await using at = await queueWithCleanUp({ concurrency_limit: limit });
    const { db, queue, dirty } = at;
    await makeFull(queue, limit);
    await queue.release('c1', await tokenOf(db, 'c1'));
    await queue.release('c2', await tokenOf(db, 'c2'));
    const cleaning = await cleanOne(db, 'q');
    await queue.acquire('x');
    await queue.acquire('y');
    const told = await queue.configure({ cleanup: false });
    expect(told.filter(({ code }) => code === 'held').map(({ claim_id }) => claim_id)).toEqual(['x']);
    expect(await dirty()).toEqual([]);
    await expectSoundQueues(db);
    await queue.release(cleaning.claim_id ?? '', cleaning.body.fencing_token, { outcome: 'failure' });
    expect((await queue.look('y')).body.state).toBe('held');
    await expectSoundQueues(db);
  });

  test('a cleaner that fails, asks for a retry, is broken or dies leaves the slot dirty, and the next one is told', async () => {
    await using at = await queueWithCleanUp({ concurrency_limit: limit });
    const { db, queue, dirty } = at;
    const [token = 0] = await queue.hold('a');
    await queue.release('a', token);
    const failures = [
      (id: string, fence: number) => queue.release(id, fence, { outcome: 'failure' }),
      (id: string, fence: number) => queue.release(id, fence, { outcome: 'retry' }),
      (id: string, fence: number) => queue.release(id, fence, { outcome: 'cancelled' }),
      (id: string, fence: number) => queue.giveBack(id, fence),
      (id: string) => queue.break(id),
    ];
    for (const [index, fail] of failures.entries()) {
      const cleaning = await cleanOne(db, 'q');
      expect(cleaning.body).toMatchObject({ attempt: index + 1, previous: { claim_id: 'a', fencing_token: token } });
      expect(['released', 'broken']).toContain((await fail(cleaning.claim_id ?? '', cleaning.body.fencing_token)).code);
      expect(await dirty()).toEqual([1]);
      await expectSoundQueues(db);
    }
    const dead = await cleanOne(db, 'q', { ttl_ms: 1000 });
    await moveClock(db, 60_000);
    expect(await queue.renew(dead.claim_id ?? '', dead.body.fencing_token).then(({ code }) => code)).toBe('renewed');
    await moveClock(db, 120_000);
    // The next cleaner ends it, without the leader.
    const { claims, others } = await clean(db, 'q');
    expect(others.map(({ code, claim_id }) => [code, claim_id])).toEqual([['ended', dead.claim_id]]);
    expect(claims[0]?.body).toMatchObject({ attempt: 7, slot: 1, previous: { claim_id: 'a' } });
    expect((await queue.release(dead.claim_id ?? '', dead.body.fencing_token)).code).toBe('not_released');
    await expectSoundQueues(db);
    expect(
      await rowsOf(
        db,
        `select type, (data -> 'attempts')::int as n from signalbox.events where type like 'slot.%' order by id`,
      ),
    ).toEqual([0, 1, 2, 3, 4, 5, 6].map((n) => ({ type: 'slot.dirty', n })));
  });

  test('two cleaners never get one slot: the second waits for the line and finds the slot taken', async () => {
    await using at = await queueWithCleanUp({ concurrency_limit: limit });
    const { db, queue } = at;
    const [token = 0] = await queue.hold('a');
    await queue.release('a', token);
    const [first, second] = [await openRacer(db), await openRacer(db)];
    await first.client.query('begin');
    expect((await clean(first.client, 'q', { holder: 'first' })).claims).toHaveLength(1);
    const waited = clean(second.client, 'q', { holder: 'second' });
    await second.isBlocked();
    await first.client.query('commit');
    expect(await waited).toMatchObject({ claims: [], code: 'served' });
    await expectSoundQueues(db);
  });

  test("a cleaner's release that comes when its lease has run out counts unless somebody ended the lease before", async () => {
    await using at = await queueWithCleanUp({ concurrency_limit: limit });
    const { db, queue, dirty } = at;
    const [token = 0] = await queue.hold('a');
    await queue.release('a', token);
    const late = await cleanOne(db, 'q', { ttl_ms: 1000 });
    await moveClock(db, 60_000);
    const [sweeper, cleaner] = [await openRacer(db), await openRacer(db)];
    await sweeper.client.query('begin');
    await rowsOf(sweeper.client, `select * from signalbox_v1.advance('{q}')`);
    const release = onQueue(cleaner.client, 'q').release(late.claim_id ?? '', late.body.fencing_token, { wait: true });
    await cleaner.isBlocked();
    await sweeper.client.query('commit');
    expect(await release).toMatchObject({ code: 'not_released', body: { reason: 'expired' } });
    expect(await dirty()).toEqual([1]);

    const inTime = await cleanOne(db, 'q', { ttl_ms: 1000 });
    await moveClock(db, 120_000);
    await cleaner.client.query('begin');
    expect((await onQueue(cleaner.client, 'q').release(inTime.claim_id ?? '', inTime.body.fencing_token)).code).toBe(
      'released',
    );
    // It finds the line taken, and passes it over.
    await rowsOf(sweeper.client, `select * from signalbox_v1.advance('{q}')`);
    await cleaner.client.query('commit');
    expect(await dirty()).toEqual([]);
    await expectSoundQueues(db);
  });
});

test('every end of a grant that somebody knew of leaves its slot dirty', async () => {
  await using at = await queueWithCleanUp();
  const { db, queue, dirty } = at;
  const endings: Record<string, () => Promise<unknown>> = {
    released: async () => queue.release('released', await tokenOf(db, 'released'), { outcome: 'success' }),
    retried: async () =>
      queue.release('retried', await tokenOf(db, 'retried'), { outcome: 'retry', retry_after_ms: 60_000 }),
    broken: () => queue.break('broken'),
  };
  for (const [name, end] of Object.entries(endings)) {
    await queue.hold(name);
    await end();
    expect(await dirty(), name).toEqual([1]);
    const { claim_id: id, body } = await cleanOne(db, 'q');
    expect(body.previous.claim_id).toBe(name);
    await queue.release(id ?? '', body.fencing_token, { outcome: 'success' });
    expect(await dirty(), name).toEqual([]);
  }
  await queue.enqueue('run');
  const [token = 0] = await takeExactly(db, 'q', 'run');
  await queue.release('run', token, { outcome: 'success' });
  expect((await cleanOne(db, 'q')).body.previous).toMatchObject({ claim_id: 'run', kind: 'run', outcome: 'success' });
  await queue.acquire('dies', { ttl_ms: 1000 });
  await moveClock(db, 200_000);
  // Its own lease ran out too, and both slots are to be cleaned.
  expect((await clean(db, 'q', { max: 5 })).claims.map(({ body }) => body.previous.claim_id).sort()).toEqual([
    'dies',
    'run',
  ]);
  await expectSoundQueues(db);
});

test('a grant that nobody ever heard of leaves its slot clean', async () => {
  await using at = await queueWithCleanUp({ concurrency_limit: 1 });
  const { db, queue, dirty } = at;
  const offer = async (claimId: string) => {
    const [token = 0] = await queue.hold(`before ${claimId}`);
    await queue.acquire(claimId, { listen_ms: 0 });
    await queue.release(`before ${claimId}`, token);
    const { claim_id: id, body } = await cleanOne(db, 'q');
    await queue.release(id ?? '', body.fencing_token);
    expect(await queue.held()).toEqual([claimId]);
  };
  await offer('cancelled');
  expect((await queue.cancel('cancelled')).code).toBe('cancelled');
  expect(await dirty()).toEqual([]);
  await offer('broken');
  await queue.break('broken');
  expect(await dirty()).toEqual([]);
  await queue.enqueue('untaken');
  const [token = 0] = await takeExactly(db, 'q', 'untaken');
  await queue.giveBack('untaken', token);
  expect(await dirty()).toEqual([]);
  await takeExactly(db, 'q', 'untaken');
  await queue.release('untaken', await tokenOf(db, 'untaken'), { outcome: 'success' });
  const { claim_id: id, body } = await cleanOne(db, 'q');
  await queue.release(id ?? '', body.fencing_token);
  await offer('lapses');
  await moveClock(db, 60_000);
  await queue.advance();
  expect(await dirty()).toEqual([]);
  await expectSoundQueues(db);
});

test('an offer that is accepted while it is being broken leaves its slot dirty', async () => {
  await using at = await queueWithCleanUp({ concurrency_limit: 1 });
  const { db, queue, dirty } = at;
  const [token = 0] = await queue.hold('before');
  await queue.acquire('a', { listen_ms: 0 });
  await queue.release('before', token);
  const cleaning = await cleanOne(db, 'q');
  await queue.release(cleaning.claim_id ?? '', cleaning.body.fencing_token);
  const [holder, operator] = [await openRacer(db), await openRacer(db)];
  await holder.client.query('begin');
  expect((await onQueue(holder.client, 'q').look('a', { hear: true })).body.offered).toBe(false);
  const broken = onQueue(operator.client, 'q').break('a');
  await operator.isBlocked();
  await holder.client.query('commit');
  expect((await broken).code).toBe('broken');
  expect(await dirty()).toEqual([1]);
  await expectSoundQueues(db);
});

test('after an expiry the lock delay passes before a cleaner gets the slot', async () => {
  await using at = await queueWithCleanUp({ concurrency_limit: 1, lock_delay_ms: 60_000 });
  const { db, queue } = at;
  await queue.acquire('a', { ttl_ms: 1000 });
  await moveClock(db, 30_000);
  expect(await clean(db, 'q')).toMatchObject({ claims: [], code: 'served' });
  await moveClock(db, 90_000);
  expect((await clean(db, 'q')).claims).toHaveLength(1);
  await queue.configure({ lock_delay_ms: 0 });
});

test('a lock delay outlives the setting: turned off, the dirty slot is free when the delay has passed', async () => {
  await using at = await queueWithCleanUp({ concurrency_limit: 1, lock_delay_ms: 60_000 });
  const { db, queue } = at;
  await queue.acquire('a', { ttl_ms: 1000 });
  await moveClock(db, 30_000);
  await clean(db, 'q');
  await queue.configure({ cleanup: false });
  expect((await queue.acquire('b')).code).toBe('waiting');
  expect((await queue.look('b')).body.waiting_for).toBe('lock_delay');
  await moveClock(db, 90_000);
  await queue.advance();
  expect((await queue.look('b')).body.state).toBe('held');
  await expectSoundQueues(db);
});

test('a slot of weight 2 is dirty, cleaned and freed as two places', async () => {
  await using at = await queueWithCleanUp({ concurrency_limit: 3 });
  const { db, queue } = at;
  const [heavy] = await rowsOf<{ body: { fencing_token: number } }>(db, 'select body from signalbox_v1.decide($1)', [
    JSON.stringify([{ op: 'acquire', queue: 'q', claim_id: 'heavy', holder: 'h', weight: 2, listen_ms: 60_000 }]),
  ]);
  await queue.hold('light');
  await queue.release('heavy', heavy?.body.fencing_token ?? 0);
  expect((await queue.acquire('one')).code).toBe('waiting');
  const { claim_id: id, body } = await cleanOne(db, 'q');
  expect((await queue.acquire('two')).code).toBe('waiting');
  await queue.release(id ?? '', body.fencing_token);
  expect(await queue.held()).toEqual(['one', 'light', 'two']);
  await expectSoundQueues(db);
});

test('neither a lowered limit nor a pause is in the way of a cleaner', async () => {
  await using at = await queueWithCleanUp();
  const { db, queue, dirty } = at;
  const tokens = await queue.hold('a', 'b');
  await queue.release('a', tokens[0] ?? 0);
  await queue.release('b', tokens[1] ?? 0);
  await queue.configure({ concurrency_limit: 0, paused: true });
  const { claims } = await clean(db, 'q', { max: 2 });
  expect(claims).toHaveLength(2);
  for (const { claim_id: id, body } of claims) await queue.release(id ?? '', body.fencing_token);
  expect(await dirty()).toEqual([]);
  await expectSoundQueues(db);
});

test('the slot that has been dirty longest is cleaned first, one whose cleaner failed last', async () => {
  await using at = await queueWithCleanUp({ concurrency_limit: 3 });
  const { db, queue } = at;
  await queue.hold('a', 'b', 'c');
  for (const name of ['b', 'a', 'c']) await queue.release(name, await tokenOf(db, name));
  const first = await cleanOne(db, 'q');
  expect(first.body.previous.claim_id).toBe('b');
  await queue.release(first.claim_id ?? '', first.body.fencing_token, { outcome: 'failure' });
  const { claims } = await clean(db, 'q', { max: 3 });
  expect(claims.map(({ body }) => body.previous.claim_id)).toEqual(['a', 'c', 'b']);
});

test('the same request again gives the same leases, those still held, and nothing new', async () => {
  await using at = await queueWithCleanUp();
  const { db, queue } = at;
  const tokens = await queue.hold('a', 'b');
  await queue.release('a', tokens[0] ?? 0);
  const first = await clean(db, 'q', { request_id: 'r' });
  await queue.release('b', tokens[1] ?? 0);
  const again = await clean(db, 'q', { request_id: 'r', max: 5 });
  expect(again).toMatchObject({ code: 'served', repeated: true });
  expect(again.claims.map(({ claim_id }) => claim_id)).toEqual(first.claims.map(({ claim_id }) => claim_id));
  await queue.release(first.claims[0]?.claim_id ?? '', first.claims[0]?.body.fencing_token ?? 0);
  expect((await clean(db, 'q', { request_id: 'r' })).claims).toEqual([]);
  await makeQueues(db, ['other'], {});
  await onQueue(db, 'other').configure({ cleanup: true });
  const [other = 0] = await onQueue(db, 'other').hold('o');
  await onQueue(db, 'other').release('o', other);
  expect((await clean(db, 'other', { request_id: 'r' })).code).toBe('request_id_reused');
});

test('a cleaning lease is nobody’s claim: an acquire of its id is refused', async () => {
  await using at = await queueWithCleanUp();
  const { db, queue } = at;
  const [token = 0] = await queue.hold('a');
  await queue.release('a', token);
  const { claim_id: id } = await cleanOne(db, 'q', { holder: 'mop' });
  expect((await queue.acquire(id ?? '', { holder: 'mop' })).code).toBe('claim_id_reused');
  expect((await queue.cancel(id ?? '')).code).toBe('release_requested');
});

test('a queue with dirty slots is in use, and idle ones are not forgotten', async () => {
  await using at = await queueWithCleanUp();
  const { db, queue } = at;
  const [token = 0] = await queue.hold('a');
  await queue.release('a', token);
  expect(await queue.delete()).toMatchObject([{ code: 'queue_in_use', body: { held: 0, dirty: 1 } }]);
  await db.query(`update signalbox.queues set auto_created = true`);
  await moveClock(db, 86_400_000 * 2);
  await db.query(`select signalbox_v1.campaign('l', 3600000)`);
  expect(
    await rowsOf(db, `select code from signalbox_v1.sweep_idle_queues('l', 1, 1000) where code = 'deleted'`),
  ).toEqual([]);
  await cleanOne(db, 'q');
  expect((await queue.delete({ force: true })).filter(({ item }) => item === 0)).toMatchObject([{ code: 'deleted' }]);
  await expectSoundQueues(db);
});

test('the answers of clean to what cannot be: no such queue, too long a ttl', async () => {
  await using at = await queueWithCleanUp({ max_ttl_ms: 60_000 });
  expect((await clean(at.db, 'none')).code).toBe('queue_not_found');
  expect((await clean(at.db, 'q', { ttl_ms: 60_001 })).code).toBe('ttl_too_long');
});

type Verbs = ReturnType<typeof onQueue>;

/** Claims c1, c2, … on all its places; those of a wide queue are few to a statement. */
async function makeFull(queue: Verbs, limit: number): Promise<void> {
  await queue.hold('c1', 'c2');
  if (limit > 2) await queue.configure({ concurrency_limit: 2 });
}

async function tokenOf(db: Parameters<typeof oneOf>[0], claimId: string): Promise<number> {
  const { token } = await oneOf<{ token: string }>(
    db,
    `select fencing_token as token from signalbox.leases where claim_id = $1 and state = 'held'`,
    [claimId],
  );
  return Number(token);
}
