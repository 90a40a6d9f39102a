import { describe, expect, test } from 'vitest';
import { moveClock } from '../../support/database-clock.ts';
import { freshDatabase, type TestDatabase } from '../../support/database.ts';
import { expectSoundQueues } from '../../support/sound-queues.ts';
import { makeQueues, oneOf, onQueue, rowsOf } from '../../support/sql-verbs.ts';

const also = (...queues: string[]) => ({ also: queues.map((queue) => ({ queue })) });

async function setUp(names = ['a', 'b', 'c'], settings: object = {}) {
  const db = await freshDatabase();
  await makeQueues(db, names, settings);
  const verbs = Object.fromEntries(names.map((name) => [name, onQueue(db, name)]));
  const on = (name: string) => verbs[name] ?? onQueue(db, name);
  return { db, on, [Symbol.asyncDispose]: () => db[Symbol.asyncDispose]() };
}

/** Which claims hold, by queue. */
async function heldIn(db: TestDatabase) {
  const rows = await rowsOf<{ place: string }>(
    db,
    `select queue || ':' || claim_id as place from signalbox.leases where state = 'held' order by queue, slot`,
  );
  return rows.map(({ place }) => place);
}

async function waitingIn(db: TestDatabase) {
  const rows = await rowsOf<{ place: string }>(
    db,
    `select queue || ':' || claim_id as place from signalbox.waiting order by queue, place, seq, rank`,
  );
  return rows.map(({ place }) => place);
}

test('a claim that waits for another of its queues is explained so in the view of the line as well', async () => {
  await using s = await setUp();
  const { db, on } = s;
  await on('b').hold('x');
  await on('a').acquire('j', also('b'));
  await on('a').acquire('behind');
  const { body } = await on('a').look('j');
  expect(body).toMatchObject({ waiting_for: 'other_queue', estimated_wait_ms: null });
  const seen = await rowsOf(
    db,
    'select queue, claim_id, waiting_for, why from signalbox_v1.line order by queue, position',
  );
  expect(seen).toMatchObject([
    { queue: 'a', claim_id: 'j', waiting_for: 'other_queue', why: body.why },
    { queue: 'a', claim_id: 'behind', waiting_for: 'behind_others', why: '1 ahead; 0 of 1 places taken' },
    { queue: 'b', claim_id: 'j', waiting_for: 'no_free_slot' },
  ]);
  const reader = await db.connect();
  await reader.query('set role signalbox_reader');
  expect(
    await rowsOf(reader, 'select why from signalbox_v1.line where claim_id = $1 and queue = $2', ['j', 'a']),
  ).toEqual([{ why: body.why }]);
});

describe.each([
  ['first', 'a', 'b', 'c'],
  ['last', 'c', 'a', 'b'],
])('its own queue being the %s by name', (_place, own, x, y) => {
  test('a claim on several queues holds a place in each, with a token of each, until one release', async () => {
    await using s = await setUp();
    const { db, on } = s;
    const held = await on(own).acquire('j', { ...also(x, y), weight: 1 });
    expect(held).toMatchObject({ code: 'held', queue: own, body: { state: 'held', slot: 1 } });
    expect(held.body.also).toEqual([
      { queue: x, slot: 1, fencing_token: expect.any(Number) as number, weight: 1 },
      { queue: y, slot: 1, fencing_token: expect.any(Number) as number, weight: 1 },
    ]);
    expect(await heldIn(db)).toEqual(['a:j', 'b:j', 'c:j']);
    expect((await on(x).acquire('single')).code).toBe('waiting');
    await expectSoundQueues(db);

    expect((await on(own).renew('j', held.body.fencing_token, 60_000)).code).toBe('renewed');
    const expiries = await rowsOf(db, 'select distinct expires_at, renewed_at, ttl_ms from signalbox.leases');
    expect(expiries).toHaveLength(1);

    const released = await on(own).release('j', held.body.fencing_token);
    expect(released.code).toBe('released');
    expect(await heldIn(db)).toEqual([]);
    expect((await on(x).advance()).map(({ code, claim_id }) => [code, claim_id])).toEqual([['held', 'single']]);
    expect((await on(own).look('j')).body).toMatchObject({ state: 'released', also: held.body.also });
    expect((await on(x).look('j')).body).toMatchObject({ state: 'released', primary: own });
    await expectSoundQueues(db);
  });

  test('it waits until all have room, in every line, and is granted by whichever has room last', async () => {
    await using s = await setUp();
    const { db, on } = s;
    const [a = 0] = await on(x).hold('h1');
    const [b = 0] = await on(y).hold('h2');
    expect((await on(own).acquire('j', also(x, y))).code).toBe('waiting');
    expect(await waitingIn(db)).toEqual(['a:j', 'b:j', 'c:j']);
    expect((await on(own).look('j')).body).toMatchObject({
      position: 1,
      waiting_for: 'other_queue',
      waiting_for_queue: [x, y].toSorted()[0],
      blocked_by: [{ claim_id: x < y ? 'h1' : 'h2' }],
      also: [
        { queue: x, weight: 1 },
        { queue: y, weight: 1 },
      ],
    });
    await on(x).release('h1', a);
    expect((await on(own).look('j')).body).toMatchObject({ waiting_for: 'other_queue', waiting_for_queue: y });
    expect((await on(x).look('j')).body).toMatchObject({ state: 'waiting', primary: own, position: 1 });
    await on(y).release('h2', b);
    expect(await heldIn(db)).toEqual(['a:j', 'b:j', 'c:j']);
    expect(await waitingIn(db)).toEqual([]);
    expect((await on(own).acquire('j', also(x, y))).body).toMatchObject({ state: 'held' });
    await expectSoundQueues(db);
  });

  test('verbs through another of its queues are refused, and change nothing', async () => {
    await using s = await setUp();
    const { db, on } = s;
    const [h = 0] = await on(y).hold('h');
    await on(own).acquire('j', also(x, y));
    const refusals = async () => [
      (await on(x).acquire('j', { holder: 'holder of j' })).code,
      (await on(x).cancel('j')).code,
      (await on(x).break('j')).code,
    ];
    expect(await refusals()).toEqual(['not_primary', 'not_primary', 'not_primary']);
    await on(y).release('h', h);
    const held = await on(own).look('j');
    const place = held.body.also?.find(({ queue }) => queue === x);
    expect(await refusals()).toEqual(['not_primary', 'not_primary', 'not_primary']);
    expect((await on(x).release('j', place?.fencing_token ?? 0)).body).toMatchObject({ primary: own });
    expect((await on(x).renew('j', place?.fencing_token ?? 0)).code).toBe('not_primary');
    expect(await heldIn(db)).toEqual(['a:j', 'b:j', 'c:j']);
  });

  test.each(['cancel', 'break'] as const)('%s while it waits takes it out of every line', async (verb) => {
    await using s = await setUp();
    const { db, on } = s;
    await on(y).hold('h');
    await on(own).acquire('j', also(x, y));
    await on(own)[verb]('j');
    expect(await waitingIn(db)).toEqual([]);
    await expectSoundQueues(db);
    expect((await on(x).acquire('single')).code).toBe('held');
  });

  test('what ran out ends everywhere, and nothing of it is left', async () => {
    await using s = await setUp();
    const { db, on } = s;
    const held = await on(own).acquire('j', also(x, y));
    await moveClock(db, 31_000);
    expect((await on(x).acquire('single')).code).toBe('held');
    expect((await on(own).renew('j', held.body.fencing_token)).code).toBe('lease_lost');
    await on(own).advance();
    await on(y).advance();
    expect(await heldIn(db)).toEqual([`${x}:single`]);
    await expectSoundQueues(db);
  });

  test('an offer that lapses puts it back at its old place in every line', async () => {
    await using s = await setUp();
    const { db, on } = s;
    const [h = 0] = await on(y).hold('h');
    await on(own).acquire('j', { ...also(x, y), listen_ms: 0 });
    await on(x).acquire('single');
    await on(y).release('h', h);
    expect((await on(own).look('j')).body).toMatchObject({ state: 'held', offered: true });
    await moveClock(db, 10_500);
    expect((await on(y).acquire('other')).code).toBe('waiting');
    await on(own).advance();
    await on(x).advance();
    await on(y).advance();
    // Granted again, before those who came later.
    expect(await heldIn(db)).toEqual(['a:j', 'b:j', 'c:j']);
    await expectSoundQueues(db);
    expect((await on(own).look('j', { hear: true })).body).toMatchObject({ offered: false });
    expect(await rowsOf(db, 'select distinct expires_at, offered from signalbox.leases')).toHaveLength(1);
  });

  test('a retry gives all places back and takes all again at its time', async () => {
    await using s = await setUp();
    const { db, on } = s;
    const held = await on(own).acquire('j', also(x, y));
    await on(own).release('j', held.body.fencing_token, { outcome: 'retry', retry_after_ms: 5000 });
    expect(await heldIn(db)).toEqual([]);
    // Nobody minds it while it is delayed.
    const single = await on(x).acquire('single');
    expect(single.code).toBe('held');
    await on(x).release('single', single.body.fencing_token);
    await moveClock(db, 5100);
    await on(own).advance();
    expect(await heldIn(db)).toEqual(['a:j', 'b:j', 'c:j']);
    await expectSoundQueues(db);
  });
});

test('a newcomer is refused as a whole, and nothing is left of it in any queue', async () => {
  await using s = await setUp(['a', 'b', 'c']);
  const { db, on } = s;
  await on('b').configure({ max_waiting: 1 });
  const [h = 0] = await on('b').hold('h');
  await on('b').acquire('w');
  const state = () =>
    rowsOf(
      db,
      `select (select jsonb_agg(n order by queue) from (select queue, waiting, several from signalbox.lines) n),
        (select count(*) from signalbox.events where claim_id = 'j') as events,
        (select count(*) from signalbox.heard where claim_id = 'j') as heard`,
    );
  const before = await state();
  expect(await on('a').acquire('j', also('b', 'c'))).toMatchObject({ code: 'queue_full', queue: 'b' });
  expect(await on('c').acquire('j', { ...also('a', 'b'), mode: 'skip_if_busy' })).toMatchObject({
    code: 'queue_busy',
    queue: 'b',
  });
  await on('c').configure({ max_ttl_ms: 20_000, default_ttl_ms: 10_000 });
  expect(await on('a').acquire('j', { ...also('b', 'c'), ttl_ms: 25_000 })).toMatchObject({
    code: 'ttl_too_long',
    queue: 'c',
  });
  expect(await on('a').acquire('j', also('b', 'none'))).toMatchObject({ code: 'queue_not_found', queue: 'none' });
  expect(await on('a').acquire('h', also('b'))).toMatchObject({ code: 'claim_id_reused', queue: 'b' });
  expect(await state()).toEqual(before);
  await on('b').release('h', h);
  await expectSoundQueues(db);
});

test('it takes its weight in each queue, and waits where that is not free', async () => {
  await using s = await setUp(['a', 'b'], { concurrency_limit: 3 });
  const { db, on } = s;
  const places = () =>
    rowsOf(db, 'select queue, places_taken::integer as places from signalbox_v1.queues order by queue');
  const held = await on('a').acquire('j', { weight: 2, also: [{ queue: 'b', weight: 3 }] });
  expect(held.body.also).toMatchObject([{ queue: 'b', weight: 3 }]);
  expect(await places()).toEqual([
    { queue: 'a', places: 2 },
    { queue: 'b', places: 3 },
  ]);
  expect((await on('a').acquire('k', { weight: 1, also: [{ queue: 'b', weight: 9 }] })).code).toBe('waiting');
  expect((await on('a').look('k')).body).toMatchObject({ waiting_for: 'other_queue', waiting_for_queue: 'b' });
  await on('a').release('j', held.body.fencing_token);
  await on('b').advance();
  expect(await places()).toEqual([
    { queue: 'a', places: 1 },
    { queue: 'b', places: 3 },
  ]);
});

test('queues of any width, paused ones and limits of 0 go together; max_hold_ms of the shortest bounds all', async () => {
  await using s = await setUp(['a', 'b', 'c']);
  const { db, on } = s;
  await on('b').configure({ concurrency_limit: 300, max_hold_ms: 60_000 });
  await on('c').configure({ concurrency_limit: null, paused: true });
  expect((await on('a').acquire('j', also('b', 'c'))).code).toBe('waiting');
  expect((await on('a').look('j')).body).toMatchObject({ waiting_for: 'other_queue', waiting_for_queue: 'c' });
  await on('c').configure({ paused: false });
  expect(await heldIn(db)).toEqual(['a:j', 'b:j', 'c:j']);
  const bounds = await rowsOf<{ ms: number }>(
    db,
    'select distinct round(extract(epoch from hold_until - acquired_at))::integer * 1000 as ms from signalbox.leases',
  );
  expect(bounds).toEqual([{ ms: 60_000 }]);
  await expectSoundQueues(db);
  const { token } = await oneOf<{ token: number }>(
    db,
    `select fencing_token::float8 as token from signalbox.leases where queue = 'a'`,
  );
  expect((await on('a').renew('j', token, 30_000)).code).toBe('renewed');
  expect((await on('a').release('j', token)).code).toBe('released');
  expect(await heldIn(db)).toEqual([]);
  await expectSoundQueues(db);
});

test('a place that ends by itself loses the whole lease at the next renewal, which extends nothing', async () => {
  await using s = await setUp(['a', 'b']);
  const { db, on } = s;
  const held = await on('a').acquire('j', also('b'));
  await on('b').delete({ force: true });
  const before = await rowsOf(db, 'select expires_at, renewed_at from signalbox.leases');
  expect(await on('a').renew('j', held.body.fencing_token)).toMatchObject({
    code: 'lease_lost',
    body: { reason: 'broken' },
  });
  expect(await rowsOf(db, 'select expires_at, renewed_at from signalbox.leases')).toEqual(before);
  expect((await on('a').release('j', held.body.fencing_token)).code).toBe('released');
});

test('a place that comes back late, when its claim is cancelled already, leaves no ticket', async () => {
  await using s = await setUp(['a', 'b']);
  const { db, on } = s;
  const held = await on('a').acquire('j', also('b'));
  const renewal = await db.connect();
  await renewal.query('begin');
  await renewal.query(`select from signalbox.leases where queue = 'b' for no key update`);
  await on('a').release('j', held.body.fencing_token, { outcome: 'retry', retry_after_ms: 60_000 });
  expect((await on('a').cancel('j')).code).toBe('cancelled');
  await renewal.query('commit');
  await on('b').advance();
  expect(await heldIn(db)).toEqual([]);
  expect(await waitingIn(db)).toEqual([]);
  await expectSoundQueues(db);
});

// A place may end before its claim does: while somebody else has the line of the claim's own queue.
describe('a place that ran out while the line of its claim was busy', () => {
  async function endedAlone(listenMs: number) {
    const s = await setUp(['a', 'b']);
    const { db, on } = s;
    const [h = 0] = await on('b').hold('h');
    await on('a').acquire('j', { ...also('b'), ttl_ms: 5000, listen_ms: listenMs });
    await on('b').release('h', h);
    const { fencing_token: token } = await oneOf<{ fencing_token: string }>(
      db,
      `select fencing_token from signalbox.leases where queue = 'a' and state = 'held'`,
    );
    await moveClock(db, 6000);
    const busy = await db.connect();
    await busy.query('begin');
    await busy.query(`select from signalbox.lines where queue = 'a' for no key update`);
    await on('b').advance();
    expect(await heldIn(db)).toEqual(['a:j']);
    await busy.query('commit');
    return { ...s, token: Number(token) };
  }

  test.each([
    ['an offer', 0],
    ['a lease', 60_000],
  ])('leaves no ticket of %s that is released', async (_what, listenMs) => {
    await using s = await endedAlone(listenMs);
    expect((await s.on('a').release('j', s.token)).code).toBe('released');
    expect(await heldIn(s.db)).toEqual([]);
    expect(await waitingIn(s.db)).toEqual([]);
    await expectSoundQueues(s.db);
  });

  test.each([
    ['an offer', 0],
    ['a lease', 60_000],
  ])('has a ticket of %s that is retried, and is granted again', async (_what, listenMs) => {
    await using s = await endedAlone(listenMs);
    expect((await s.on('a').release('j', s.token, { outcome: 'retry', retry_after_ms: 0 })).code).toBe('released');
    expect(await heldIn(s.db)).toEqual(['a:j', 'b:j']);
    await expectSoundQueues(s.db);
  });
});

test('a turn that a claim on several queues took in a line and did not use comes back', async () => {
  await using s = await setUp(['a', 'b'], { rotate_by: 'tenant' });
  const { db, on } = s;
  await on('b').hold('h');
  const turn = () => rowsOf(db, `select next_turn from signalbox.turns where queue = 'b' and value = 'x'`);
  await on('b').acquire('first', { labels: { tenant: 'x' } });
  const before = await turn();
  await on('a').acquire('j', { ...also('b'), labels: { tenant: 'x' } });
  expect(await turn()).not.toEqual(before);
  await on('a').cancel('j');
  expect(await turn()).toEqual(before);
});

test('what was to be ended in a queue that is deleted is forgotten', async () => {
  await using s = await setUp(['a', 'b']);
  const { db, on } = s;
  const held = await on('a').acquire('j', also('b'));
  await on('b').delete({ force: true });
  expect((await on('a').release('j', held.body.fencing_token)).code).toBe('released');
  const { epoch } = await oneOf<{ epoch: number }>(db, `select epoch::int from signalbox_v1.campaign('leader', 10000)`);
  await db.query(`select signalbox_v1.sweep_lines('leader', $1)`, [epoch]);
  expect(await rowsOf(db, 'select from signalbox.loose_ends')).toEqual([]);
});

test('nor does it hold up the queue that is made anew under the name, where its slot is not there', async () => {
  await using s = await setUp(['a', 'b'], { concurrency_limit: 2 });
  const { db, on } = s;
  await on('b').hold('h');
  const held = await on('a').acquire('j', also('b'));
  await on('b').delete({ force: true });
  await makeQueues(db, ['b']);
  expect((await on('a').release('j', held.body.fencing_token)).code).toBe('released');
  await on('b').advance();
  expect(await rowsOf(db, 'select from signalbox.loose_ends')).toEqual([]);
});

test('a claim that has the id of one that was to be ended, and was ended otherwise, is not ended for it', async () => {
  await using s = await setUp(['a', 'b', 'c'], { claim_memory_ms: 1000 });
  const { db, on } = s;
  await on('c').hold('h');
  await on('a').acquire('j', also('b', 'c'));
  const busy = await db.connect();
  await busy.query('begin');
  await busy.query(`select from signalbox.lines where queue = 'a' for no key update`);
  await on('b').delete({ force: true });
  await busy.query('commit');
  expect((await on('a').cancel('j')).code).toBe('cancelled');
  await moveClock(db, 1500);
  expect((await on('a').acquire('j', also('c'))).code).toBe('waiting');
  await on('a').advance();
  expect((await on('a').look('j')).body.state).toBe('waiting');
  expect(await rowsOf(db, `select from signalbox.loose_ends where queue = 'a'`)).toEqual([]);
});

test('places of a wide queue whose leases ran out are found by a newcomer that asks for more than are free there', async () => {
  await using s = await setUp(['a', 'b']);
  const { db, on } = s;
  await on('b').configure({ concurrency_limit: 300 });
  await on('b').acquire('gone', { weight: 298, ttl_ms: 1000 });
  await moveClock(db, 2000);
  const several = { also: [{ queue: 'b', weight: 3 }], mode: 'skip_if_busy' };
  expect((await on('a').acquire('j', several)).code).toBe('held');
  expect(await heldIn(db)).toEqual(['a:j', 'b:j']);
  await expectSoundQueues(db);
});

test('a queue that is deleted by force ends the claims that wait for it elsewhere', async () => {
  await using s = await setUp(['a', 'b', 'c']);
  const { db, on } = s;
  await on('c').hold('h');
  await on('a').acquire('j', also('b', 'c'));
  await on('b').delete({ force: true });
  expect((await on('a').look('j')).body).toMatchObject({ state: 'broken', detail: 'queue_deleted' });
  expect(await waitingIn(db)).toEqual([]);
});

test('its own queue deleted by force frees its places and tickets', async () => {
  await using s = await setUp(['a', 'b', 'c']);
  const { db, on } = s;
  await on('a').acquire('j', also('b'));
  await on('a').acquire('k', also('c'));
  await on('a').delete({ force: true });
  expect(await heldIn(db)).toEqual([]);
  expect(await waitingIn(db)).toEqual([]);
});

test('silence ends it in every line; those behind it move', async () => {
  await using s = await setUp(['a', 'b']);
  const { db, on } = s;
  await on('b').hold('h');
  await on('a').acquire('j', { ...also('b'), listen_ms: 0 });
  await on('b').acquire('w', { listen_ms: 600_000 });
  await db.query(
    `insert into signalbox.orchestrator_lock (id, leader, epoch, acquired_at, renewed_at, expires_at)
     values (1, 'l', 1, now(), now(), now() + interval '1 day')
     on conflict (id) do update set leader = 'l', epoch = 1, expires_at = excluded.expires_at`,
  );
  await moveClock(db, 61_000);
  const swept = await rowsOf<{ code: string; claim_id: string }>(
    db,
    `select code, claim_id from signalbox_v1.sweep_silent('l', 1)`,
  );
  expect(swept.filter(({ code }) => code === 'ended').map(({ claim_id }) => claim_id)).toEqual(['j']);
  expect(await waitingIn(db)).toEqual(['b:w']);
  expect(await oneOf(db, `select waiting, several from signalbox.lines where queue = 'b'`)).toEqual({
    waiting: 1,
    several: 0,
  });
});
