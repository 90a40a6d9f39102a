import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { EventPage } from '../../src/protocol/events.ts';
import { feedPatienceMs, until } from '../support/until.ts';
import { type TestDatabase, freshDatabase } from '../support/database.ts';
import { type TestApp, startTestApp } from '../support/test-app.ts';

let database: TestDatabase;
let app: TestApp;

beforeAll(async () => {
  database = await freshDatabase();
  app = await startTestApp(database);
});
afterAll(async () => {
  await app[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

async function read(query: Record<string, string | number>): Promise<{ status: number; body: EventPage }> {
  const parameters = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) parameters.set(key, String(value));
  const response = await fetch(`${app.url}/v1/events?${parameters.toString()}`);
  return { status: response.status, body: (await response.json()) as EventPage };
}

/** Reads on behind the last id until there are so many: what commits beside the test may part a page. */
async function follow(queue: string, count: number): Promise<EventPage['events']> {
  const seen: EventPage['events'] = [];
  while (seen.length < count) {
    const after = seen.at(-1)?.id;
    const { body } = await read({ queue, wait_ms: feedPatienceMs, ...(after === undefined ? {} : { after }) });
    expect(body.events.length).toBeGreaterThan(0);
    seen.push(...body.events);
  }
  return seen;
}

async function post(path: string, body: unknown): Promise<Record<string, unknown>> {
  const response = await fetch(app.url + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  return (await response.json()) as Record<string, unknown>;
}

describe('GET /v1/events', { timeout: 90_000 }, () => {
  test('tells the story of a queue in order, and goes on behind the last id', async () => {
    const first = await post('/v1/queues/story/acquire', { holder: 'one', claim_id: 'a' });
    await post('/v1/queues/story/acquire', { holder: 'two', claim_id: 'b' });
    await post('/v1/queues/story/claims/a/release', { fencing_token: first['fencing_token'], outcome: 'success' });
    const seen = await follow('story', 4);
    expect(seen.map(({ type, claim_id }) => [type, claim_id])).toEqual([
      ['lease.granted', 'a'],
      ['claim.queued', 'b'],
      ['lease.released', 'a'],
      ['lease.granted', 'b'],
    ]);
    expect(seen[1]).toMatchObject({ holder: 'two', waiting_for: 'no_free_slot' });
    expect(seen[2]).toMatchObject({ queue: 'story', holder: 'one', outcome: 'success' });
    expect((await read({ queue: 'story', after: seen.at(-1)?.id ?? '' })).body.events).toEqual([]);
  });

  test('filters by labels, all that are named, and events of claims carry them', async () => {
    const queue = 'labelled';
    const labels = { tenant: 'acme', branch: 'a=b' };
    const held = await post(`/v1/queues/${queue}/acquire`, { holder: 'h', claim_id: 'one', labels });
    await post(`/v1/queues/${queue}/acquire`, { holder: 'h', claim_id: 'two', labels: { tenant: 'acme' } });
    await post(`/v1/queues/${queue}/acquire`, { holder: 'h', claim_id: 'three' });
    await post(`/v1/queues/${queue}/enqueue`, { claim_id: 'four', labels });
    await post(`/v1/queues/${queue}/claims/one/release`, { fencing_token: held['fencing_token'] });
    await post(`/v1/queues/${queue}/claims/two/cancel`, {});
    await follow(queue, 8);
    const of = async (query: string) => {
      const response = await fetch(`${app.url}/v1/events?queue=${queue}&${query}`);
      return ((await response.json()) as EventPage).events.map(({ type, claim_id }) => `${type} ${claim_id}`);
    };
    const acme = await of('label=tenant%3Dacme');
    expect(acme.filter((event) => event.endsWith('one'))).toEqual(['lease.granted one', 'lease.released one']);
    expect(acme.filter((event) => event.endsWith('two')).slice(0, 2)).toEqual([
      'claim.queued two',
      'lease.granted two',
    ]);
    expect(acme).toContain('claim.queued four');
    expect(acme.filter((event) => event.endsWith('three'))).toEqual([]);
    const both = await of('label=tenant%3Dacme&label=branch%3Da%3Db');
    expect(both).toEqual(['lease.granted one', 'claim.queued four', 'lease.released one']);
    expect(await of('label=tenant%3Dother')).toEqual([]);
    const [first] = (await read({ queue })).body.events;
    expect(first).toMatchObject({ type: 'lease.granted', claim_id: 'one', labels });
  });

  test('a reader of what is rare goes on behind what it was not told', { timeout: 60_000 }, async () => {
    await database.query(
      `insert into signalbox.events (at, type, queue, claim_id) select signalbox.clock(), 'claim.queued', 'much', 'x'
       from generate_series(1, 45000)`,
    );
    await post('/v1/queues/rare/acquire', { holder: 'h', claim_id: 'a', labels: { is: 'rare' } });
    const [found] = await follow('rare', 1);
    const nothing = await fetch(`${app.url}/v1/events?label=is%3Dnowhere`);
    const { events, next_after: after } = (await nothing.json()) as EventPage;
    expect(events).toEqual([]);

    expect((await read({ queue: 'much', after })).body.events).toEqual([]);
    expect(found?.claim_id).toBe('a');
    // Behind a cursor that is ahead of all there is, nothing goes back.
    expect((await read({ queue: 'rare', after: '999999999.5' })).body.next_after).toBe('999999999.5');
    const all = await fetch(`${app.url}/v1/events?label=is%3Drare`);
    expect(((await all.json()) as EventPage).events.map(({ claim_id: claim }) => claim)).toEqual(['a']);
  });

  test.each(['label=tenant', 'label=%3Dx', `label=${'x'.repeat(64)}%3Dy`])('%s is refused', async (query) => {
    const response = await fetch(`${app.url}/v1/events?${query}`);
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ code: 'invalid_request' });
  });

  test('tells the story of runs, what they stop, and what operators do', async () => {
    const { client } = app;
    const queue = 'runs';
    const actor = 'op';
    await client.put(queue, { max_attempts: 2 });
    await client.enqueue(queue, { claim_id: 'a' });
    await client.enqueue(queue, { claim_id: 'b', delay_ms: 3_600_000 });
    const retry = { outcome: 'retry', retry_after_ms: 3_600_000 } as const;
    await client.release(await client.takeOne({ queue, holder: 'w' }), retry);
    await post(`/v1/queues/${queue}/unblock`, { actor, reason: 'hurry' });
    await post(`/v1/queues/${queue}/claims/a/retry`, { actor });
    await client.release(await client.takeOne({ queue, holder: 'w' }), { ...retry, error: 'broken' });
    await post(`/v1/queues/${queue}/dead-letters/redrive`, { all: true, actor });
    await client.release(await client.takeOne({ queue, holder: 'w' }), retry);
    await post(`/v1/queues/${queue}/claims/a/skip`, { actor });
    await post(`/v1/queues/${queue}/dead-letters/purge`, { all: true, actor });
    const known = [
      ['queue.changed', null],
      ['claim.queued', 'a'],
      ['claim.delayed', 'b'],
      ['lease.granted', 'a'],
      ['queue.blocked', 'a'],
      ['lease.returned', 'a'],
      ['queue.unblocked', null],
      ['claim.redriven', 'a'],
      ['lease.granted', 'a'],
      ['lease.released', 'a'],
      ['claim.dead', 'a'],
      ['claim.redriven', 'a'],
      ['lease.granted', 'a'],
      ['queue.blocked', 'a'],
      ['lease.returned', 'a'],
      ['claim.skipped', 'a'],
      ['claim.dead', 'a'],
      ['queue.unblocked', null],
      ['claim.purged', 'a'],
    ];
    const seen = await follow(queue, known.length);
    const story = seen.map(({ type, claim_id }) => [type, claim_id]);
    expect(story).toEqual(known);
    const told = (type: string) => seen.find((event) => event.type === type);
    expect(told('claim.queued')).toMatchObject({ kind: 'run' });
    expect(told('lease.returned')).toMatchObject({ outcome: 'retry', due_at: expect.any(String) as string });
    expect(told('claim.dead')).toMatchObject({ reason: 'max_attempts', error: 'broken', attempts: 2 });
    expect(told('queue.unblocked')).toMatchObject({ actor, reason: 'hurry' });
    expect(told('claim.purged')).toMatchObject({ actor });
  });

  test('pages by limit without leaving anything out or telling it twice', async () => {
    for (let n = 0; n < 5; n++) await post(`/v1/queues/pages-${n}/acquire`, { holder: 'one', claim_id: 'a' });
    const names: unknown[] = [];
    let after: string | undefined;
    while (names.length < 5) {
      const query = { prefix: 'pages-', limit: 2, wait_ms: 5000, ...(after === undefined ? {} : { after }) };
      const { body } = await read(query);
      expect(body.events.length).toBeGreaterThan(0);
      expect(body.events.length).toBeLessThanOrEqual(2);
      names.push(...body.events.map(({ queue }) => queue));
      after = body.events.at(-1)?.id;
    }
    expect(names).toEqual(['pages-0', 'pages-1', 'pages-2', 'pages-3', 'pages-4']);
  });

  test('waits for the first event and answers with it', async () => {
    const waiting = read({ queue: 'later', wait_ms: 20_000 });
    await post('/v1/queues/later/acquire', { holder: 'one', claim_id: 'a' });
    expect((await waiting).body.events.map(({ type }) => type)).toEqual(['lease.granted']);
  });

  test('never passes an event whose transaction commits late', async () => {
    const slow = await database.connect();
    await slow.query('begin');
    await slow.query(`select signalbox.record_event('lease.granted', 'race', 'early-id', '{}')`);
    await database.query(`select signalbox.record_event('lease.granted', 'race', 'late-id', '{}')`);
    // The later one has committed, the earlier one has not: a reader that took the later one now would lose the earlier.
    expect((await read({ queue: 'race' })).body.events).toEqual([]);
    await slow.query('commit');
    expect((await follow('race', 2)).map(({ claim_id }) => claim_id)).toEqual(['early-id', 'late-id']);
  });

  test.each(['x', '1', '1.', '.1', '1.2.3', '-1.2', '99999999999999999999.1'])(
    'refuses the cursor %j, which is no id of an event',
    async (after) => {
      const { status, body } = await read({ after });
      expect(status).toBe(400);
      expect(body).toMatchObject({ code: 'invalid_request' });
    },
  );

  test('after=newest begins behind all that is there, and next_after goes on from an empty page', async () => {
    await app.client.hold('newest', { claim_id: 'before' });
    const [before] = await follow('newest', 1);
    const readNewest = async () => (await read({ queue: 'newest', after: 'newest' })).body;
    let empty = await readNewest();
    // One reader may see a little less than another did, while somebody writes next door.
    const transactionOf = (id = '') => BigInt(id.split('.')[0] ?? '');
    await until(
      async () => {
        empty = await readNewest();
        return transactionOf(empty.next_after) >= transactionOf(before?.id);
      },
      { what: 'newest is behind what is known', timeoutMs: feedPatienceMs },
    );
    expect(empty.events).toEqual([]);
    await app.client.acquire('newest', { claim_id: 'after' });
    const { body } = await read({ queue: 'newest', after: empty.next_after, wait_ms: 5000 });
    expect(body.events.map(({ type, claim_id }) => [type, claim_id])).toEqual([['claim.queued', 'after']]);
    expect(body.next_after).toBe(body.events.at(-1)?.id);
  });
});
