import { describe, expect, it } from 'vitest';
import { type TestDatabase } from '../support/database.ts';
import { anId, held, type TestClient } from '../support/http-client.ts';
import { until } from '../support/until.ts';
import { oneReplica } from '../support/one-replica.ts';

let database: TestDatabase;
let client: TestClient;
oneReplica((parts) => ({ database, client } = parts));

/** A queue with these settings and runs, enqueued one after another. */
async function aQueue(settings: object, ...claimIds: readonly string[]): Promise<string> {
  const queue = anId('q');
  expect((await client.put(queue, settings as Record<string, unknown>)).status).toBe(200);
  for (const claim_id of claimIds) expect((await client.enqueue(queue, { claim_id })).status).toBe(201);
  return queue;
}
const nothing = { status: 200, body: { claims: [] } };
const released = (state: string) => ({ status: 200, body: { released: true, state } });
/** The time of the database. */
async function clockMs(): Promise<number> {
  const { rows } = await database.query<{ ms: string }>('select extract(epoch from signalbox.clock()) * 1000 as ms');
  return Number(rows[0]?.ms);
}
const dueMs = (reply: { body: { due_at?: string | undefined } }) => Date.parse(reply.body.due_at ?? '');

describe('release with outcome retry', () => {
  it('after 0 ms puts the run back at its old place; the attempts count', async () => {
    const queue = await aQueue({}, 'a', 'b');
    const first = await client.takeOne({ queue });
    const reply = await client.release(first, { outcome: 'retry', retry_after_ms: 0, error: 'not yet\nagain' });
    expect(reply.body).toEqual({ released: true, state: 'waiting' });
    expect(await client.get(queue, 'a')).toMatchObject({ body: { state: 'waiting', attempt: 1, position: 1 } });
    const second = await client.takeOne({ queue });
    expect(second).toMatchObject({ claim_id: 'a', attempt: 2 });
    expect(second.fencing_token).toBeGreaterThan(first.fencing_token);
    expect(await client.renew(first)).toMatchObject({ status: 410, body: { code: 'lease_lost' } });
  });

  it('after some time delays it, and says until when', async () => {
    const queue = await aQueue({}, 'a');
    const reply = await client.release(await client.takeOne({ queue }), { outcome: 'retry', retry_after_ms: 60_000 });
    expect(reply).toMatchObject(released('delayed'));
    const away = dueMs(reply) - (await clockMs());
    expect(away).toBeGreaterThan(50_000);
    expect(away).toBeLessThanOrEqual(60_000);
    expect(await client.get(queue, 'a')).toMatchObject({
      status: 200,
      body: { kind: 'run', state: 'delayed', attempt: 1, waiting_for: 'not_before', due_at: reply.body.due_at },
    });
    expect(await client.enqueue(queue, { claim_id: 'a' })).toMatchObject({
      status: 200,
      body: { kind: 'run', state: 'delayed', attempts: 1, due_at: reply.body.due_at },
    });
    expect(await client.take({ queue })).toMatchObject(nothing);
  });

  it("without retry_after_ms waits for the queue's backoff, which doubles up to its bound", async () => {
    const queue = await aQueue({ retry_delay_ms: 40_000, retry_delay_max_ms: 100_000, max_attempts: 9 }, 'a');
    const bounds = [40_000, 80_000, 100_000, 100_000];
    for (const bound of bounds) {
      const taken = await client.takeOne({ queue });
      const sentAtMs = await clockMs();
      const due = dueMs(await client.release(taken, { outcome: 'retry' }));
      expect(due - sentAtMs).toBeGreaterThanOrEqual(bound / 2 - 1);
      expect(due - (await clockMs())).toBeLessThanOrEqual(bound);
      await client.ask('POST', `/v1/queues/${queue}/claims/a/retry`, { actor: 'test' });
    }
  });

  it('at the last attempt is dead', async () => {
    const queue = await aQueue({ max_attempts: 2 }, 'a');
    const again = { outcome: 'retry', retry_after_ms: 0 } as const;
    expect(await client.release(await client.takeOne({ queue }), again)).toMatchObject(released('waiting'));
    const last = await client.takeOne({ queue });
    expect(last).toMatchObject({ attempt: 2, max_attempts: 2 });
    expect((await client.release(last, again)).body).toEqual({ released: true, state: 'dead' });
    expect(await client.get(queue, 'a')).toMatchObject({
      body: { state: 'dead', reason: 'max_attempts', kind: 'run' },
    });
    expect(await client.enqueue(queue, { claim_id: 'a' })).toMatchObject({ status: 200, body: { state: 'dead' } });
    expect(await client.take({ queue })).toMatchObject(nothing);
    expect((await client.queue(queue)).body).toMatchObject({ dead_letters: 1, runs: 0, blocked: false });
  });

  it('said again is released false with the reason, and changes nothing', async () => {
    const queue = await aQueue({}, 'a');
    const taken = await client.takeOne({ queue });
    await client.release(taken, { outcome: 'retry', retry_after_ms: 0 });
    expect(await client.release(taken, { outcome: 'retry', retry_after_ms: 0 })).toMatchObject({
      status: 200,
      body: { released: false, reason: 'released' },
    });
    expect(await client.takeOne({ queue })).toMatchObject({ claim_id: 'a', attempt: 2 });
    expect(await client.release(taken, { outcome: 'success' })).toMatchObject({ body: { released: false } });
    expect(await client.get(queue, 'a')).toMatchObject({ body: { state: 'held' } });
    expect(
      await client.release({ ...taken, fencing_token: 1 as typeof taken.fencing_token }, { outcome: 'retry' }),
    ).toMatchObject({ status: 409, body: { code: 'token_mismatch' } });
  });

  it('of a claim with a holder puts that back too: its holder asks again and gets it when it is due', async () => {
    const queue = anId('q');
    const asked = { claim_id: 'a', holder: 'me' };
    const lease = await client.hold(queue, asked);
    expect(lease).toMatchObject({ kind: 'claim', attempt: 1 });
    const reply = await client.release(lease, { outcome: 'retry', retry_after_ms: 1000 });
    expect(reply).toMatchObject(released('delayed'));
    expect(await client.acquire(queue, asked)).toMatchObject({
      status: 202,
      body: { kind: 'claim', state: 'delayed', waiting_for: 'not_before', attempt: 1, due_at: reply.body.due_at },
    });
    const next = held(await client.acquire(queue, { ...asked, wait_ms: 20_000 }));
    expect(next).toMatchObject({ claim_id: 'a', attempt: 2 });
    expect(Date.parse(next.acquired_at)).toBeGreaterThanOrEqual(Date.parse(reply.body.due_at ?? ''));
  });

  it.each([
    { retry_after_ms: 0 },
    { outcome: 'success', retry_after_ms: 0 },
    { outcome: 'failure', retry_after_ms: 5 },
    { outcome: 'retry', retry_after_ms: -1 },
    { outcome: 'retry', retry_after_ms: 31_536_000_001 },
    { outcome: 'again' },
    { error: 'a\0b' },
    { error: 'x'.repeat(4001) },
  ])('%j is 400, and the lease goes on', async (ending) => {
    const queue = await aQueue({}, 'a');
    const taken = await client.takeOne({ queue });
    expect(await client.release(taken, ending as object)).toMatchObject({
      status: 400,
      body: { code: 'invalid_request' },
    });
    expect(await client.get(queue, 'a')).toMatchObject({ body: { state: 'held' } });
  });
});

describe('release with another outcome', () => {
  it.each(['success', 'cancelled', undefined] as const)('%s ends the run', async (outcome) => {
    const queue = await aQueue({}, 'a');
    const taken = await client.takeOne({ queue });
    const reply = await client.release(taken, outcome === undefined ? {} : { outcome });
    expect(reply.body).toEqual({ released: true });
    expect(await client.get(queue, 'a')).toMatchObject({ body: { state: 'released', outcome: outcome ?? null } });
    expect((await client.queue(queue)).body.dead_letters).toBe(0);
    expect(await client.take({ queue })).toMatchObject(nothing);
  });

  it('failure ends the run and keeps it as a dead letter, however many attempts are left', async () => {
    const queue = await aQueue({ max_attempts: 10 }, 'a', 'b');
    const taken = await client.takeOne({ queue });
    const reply = await client.release(taken, { outcome: 'failure', error: 'no such file' });
    expect(reply.body).toEqual({ released: true });
    expect(await client.get(queue, 'a')).toMatchObject({ body: { state: 'released', outcome: 'failure' } });
    expect((await client.queue(queue)).body).toMatchObject({ dead_letters: 1, blocked: false });
    expect(await client.takeOne({ queue })).toMatchObject({ claim_id: 'b' });
  });

  it('failure of a claim with a holder keeps nothing', async () => {
    const lease = await client.hold(anId('q'));
    expect((await client.release(lease, { outcome: 'failure' })).body).toEqual({ released: true });
    expect((await client.queue(lease.queue)).body.dead_letters).toBe(0);
  });
});

describe('a run whose taker falls silent', () => {
  it('goes back to its old place while attempts remain, else it is dead', async () => {
    const queue = await aQueue({ max_attempts: 2, retry_delay_ms: 0, lock_delay_ms: 0 }, 'a');
    const first = await client.takeOne({ queue, ttl_ms: 1000 });
    const second = await client.takeOne({ queue, ttl_ms: 1000, wait_ms: 20_000 });
    expect(second).toMatchObject({ claim_id: 'a', attempt: 2 });
    expect(await client.renew(first)).toMatchObject({ status: 410, body: { code: 'lease_lost', reason: 'expired' } });
    await until(
      async () => {
        await client.take({ queue });
        const { body } = await client.get(queue, 'a');
        return 'state' in body && body.state === 'dead';
      },
      { what: 'the run is dead' },
    );
    expect(await client.get(queue, 'a')).toMatchObject({ body: { state: 'dead', reason: 'max_attempts' } });
    expect(await client.release(second, { outcome: 'success' })).toMatchObject({ body: { released: false } });
  });
});

describe('those behind a retried run', () => {
  const retryFirst = async (queue: string) => {
    const taken = await client.takeOne({ queue });
    expect(taken.claim_id).toBe('a');
    expect(await client.release(taken, { outcome: 'retry', retry_after_ms: 60_000 })).toMatchObject(
      released('delayed'),
    );
  };

  it.each([
    ['wait at a limit of 1', {}],
    ['wait where the queue says wait', { concurrency_limit: 5, on_failure: 'wait' }],
    ['wait where the queue says stop', { concurrency_limit: 5, on_failure: 'stop' }],
  ])('%s', async (_title, settings) => {
    const queue = await aQueue(settings, 'a', 'b');
    await retryFirst(queue);
    expect(await client.take({ queue })).toMatchObject(nothing);
    expect((await client.queue(queue)).body).toMatchObject({ blocked: true, runs: 1, delayed: 1 });
    expect(await client.get(queue, 'b')).toMatchObject({ body: { state: 'waiting', waiting_for: 'blocked' } });
    // Behind is lower in the order: a run of higher priority goes first.
    await client.enqueue(queue, { claim_id: 'urgent', priority: 1 });
    expect(await client.takeOne({ queue })).toMatchObject({ claim_id: 'urgent' });
  });

  it.each([
    ['go on at a higher limit', { concurrency_limit: 5 }],
    ['go on without a limit', { concurrency_limit: null }],
    ['go on where the queue says step_around', { on_failure: 'step_around' }],
  ])('%s', async (_title, settings) => {
    const queue = await aQueue(settings, 'a', 'b');
    await retryFirst(queue);
    expect((await client.queue(queue)).body).toMatchObject({ blocked: false, delayed: 1 });
    expect(await client.takeOne({ queue })).toMatchObject({ claim_id: 'b' });
  });
});

describe('max_age_ms', () => {
  it('makes a run dead that is retried after it', async () => {
    const queue = await aQueue({});
    await client.enqueue(queue, { claim_id: 'a', max_age_ms: 1000 });
    const taken = await client.takeOne({ queue });
    const oldAtMs = Date.parse(taken.enqueued_at) + 1100;
    await until(async () => (await clockMs()) > oldAtMs, { what: 'the run is too old' });
    expect((await client.release(taken, { outcome: 'retry' })).body).toEqual({ released: true, state: 'dead' });
    expect(await client.get(queue, 'a')).toMatchObject({ body: { state: 'dead', reason: 'max_age' } });
  });
});
