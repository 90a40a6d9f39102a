import { describe, expect, it } from 'vitest';
import type { DeadLetter, BlockedPage } from '../../src/protocol/dead-letters.ts';
import { anId, type Answered, type Ending, type TestClient } from '../support/http-client.ts';
import { shapeOf } from '../support/test-app.ts';
import { oneReplica } from '../support/one-replica.ts';

let client: TestClient;
oneReplica((parts) => ({ client } = parts));

interface Page {
  dead_letters: readonly DeadLetter[];
  next_cursor: string | null;
}
const list = (query: string): Promise<Answered<Page>> => client.ask('GET', `/v1/dead-letters?${query}`);
const lettersOf = async (queue: string) =>
  (await list(`queue=${encodeURIComponent(queue)}&limit=100`)).body.dead_letters ?? [];
const idsOf = (letters: readonly { claim_id: string }[]) => letters.map(({ claim_id }) => claim_id);
const blockedOf = async (prefix: string) =>
  (await client.ask<BlockedPage>('GET', `/v1/blocked?prefix=${encodeURIComponent(prefix)}`)).body.queues;
const operate = (queue: string, verb: string, body: object = { actor: 'op' }): Promise<Answered<never>> =>
  client.ask('POST', `/v1/queues/${encodeURIComponent(queue)}/${verb}`, body);
const nothing = { status: 200, body: { claims: [] } };

/** Takes the next run of the queue and ends it so. */
async function end(queue: string, ending: Ending): Promise<string> {
  const taken = await client.takeOne({ queue, holder: 'worker' });
  expect((await client.release(taken, ending)).status).toBe(200);
  return taken.claim_id;
}
/** A queue where these runs have failed, one after another. */
async function aQueueOfFailures(settings: object, ...claimIds: readonly string[]): Promise<string> {
  const queue = anId('q');
  await client.put(queue, settings as Record<string, unknown>);
  for (const claim_id of claimIds) {
    await client.enqueue(queue, { claim_id, payload: { of: claim_id } });
    expect(await end(queue, { outcome: 'failure', error: `${claim_id} failed` })).toBe(claim_id);
  }
  return queue;
}

describe('the list of dead letters', () => {
  it('shows the run with payload, error and what became of each attempt', async () => {
    const queue = anId('q');
    await client.enqueue(queue, {
      claim_id: 'a',
      payload: { n: 1 },
      labels: { k: 'v' },
      priority: 4,
      max_attempts: 2,
    });
    await end(queue, { outcome: 'retry', retry_after_ms: 0, error: 'first\ntime' });
    await end(queue, { outcome: 'retry', retry_after_ms: 0, error: 'second time' });
    const [letter, ...more] = await lettersOf(queue);
    expect(more).toEqual([]);
    expect(letter).toMatchObject({
      queue,
      claim_id: 'a',
      reason: 'max_attempts',
      outcome: 'retry',
      error: 'second time',
      holder: 'worker',
      attempts: 2,
      max_attempts: 2,
      priority: 4,
      labels: { k: 'v' },
      payload: { n: 1 },
      blocks: false,
      history: [
        { attempt: 1, holder: 'worker', slot: 1, outcome: 'retry', error: 'first\ntime' },
        { attempt: 2, holder: 'worker', slot: 1, state: 'dead', outcome: 'retry', error: 'second time' },
      ],
    });
    expect(shapeOf(letter)).toEqual({
      queue: 'string',
      claim_id: 'string',
      reason: 'string',
      outcome: 'string',
      error: 'string',
      holder: 'string',
      attempts: 'integer',
      max_attempts: 'integer',
      priority: 'integer',
      labels: 'object',
      payload: 'object',
      enqueued_at: 'instant',
      died_at: 'instant',
      blocks: 'boolean',
      history: 'array',
    });
    expect(shapeOf(letter?.history[0])).toEqual({
      attempt: 'integer',
      holder: 'string',
      fencing_token: 'integer',
      slot: 'integer',
      state: 'string',
      reason: 'string',
      outcome: 'string',
      error: 'string',
      acquired_at: 'instant',
      ended_at: 'instant',
    });
  });

  it('shows the newest 20 attempts, the oldest first', async () => {
    const queue = anId('q');
    await client.put(queue, { max_attempts: 23 });
    await client.enqueue(queue, { claim_id: 'a' });
    for (let i = 1; i <= 23; i++) await end(queue, { outcome: 'retry', retry_after_ms: 0 });
    const [letter] = await lettersOf(queue);
    expect(letter?.history.map(({ attempt }) => attempt)).toEqual(Array.from({ length: 20 }, (_, i) => i + 4));
  });

  it('is ordered by queue and time of death, in pages, of one queue, of some or of all', async () => {
    const tag = anId('t');
    const queues = [`${tag}/b`, `${tag}/a`, tag];
    for (const queue of queues)
      for (const claim_id of ['2', '1']) {
        await client.enqueue(queue, { claim_id });
        await end(queue, { outcome: 'failure' });
      }
    const all = [`${tag} 2`, `${tag} 1`, `${tag}/a 2`, `${tag}/a 1`, `${tag}/b 2`, `${tag}/b 1`];
    const named = (page: Answered<Page>) =>
      page.body.dead_letters?.map(({ queue, claim_id }) => `${queue} ${claim_id}`) ?? [];
    expect(named(await list(`prefix=${tag}`))).toEqual(all);
    expect(named(await list(`prefix=${tag}/`))).toEqual(all.slice(2));
    expect(named(await list(`queue=${tag}`))).toEqual(all.slice(0, 2));
    expect(named(await list('limit=100'))).toEqual(expect.arrayContaining(all));
    const pages: string[][] = [];
    for (let cursor: string | null = ''; cursor !== null;) {
      const page = await list(`prefix=${tag}&limit=4&cursor=${encodeURIComponent(cursor)}`);
      expect(page.status).toBe(200);
      pages.push(named(page));
      cursor = page.body.next_cursor ?? null;
    }
    expect(pages).toEqual([all.slice(0, 4), all.slice(4)]);
  });

  it('of a queue without any, or that nobody made, is empty', async () => {
    expect((await list(`queue=${anId('q')}`)).body).toEqual({ dead_letters: [], next_cursor: null });
  });

  /** What a cursor is made of, with a time of our own. */
  const cursorAt = (time: string) => `cursor=${Buffer.from(JSON.stringify(['q', time, 'c'])).toString('base64url')}`;
  it.each([
    'limit=0',
    'limit=101',
    'queue=a%20b',
    'queue=q&prefix=q',
    'what=1',
    'cursor=nonsense',
    'cursor=%22',
    // No calendar has these.
    cursorAt('2026-13-45T25:61:61.000000Z'),
    cursorAt('2026-02-30T00:00:00.000000Z'),
  ])('with %s is 400', async (query) => {
    expect(await list(query)).toMatchObject({ status: 400, body: { code: 'invalid_request' } });
  });
});

describe('redrive', () => {
  it('puts runs back at their old places; attempts go on counting and max_attempts more are allowed', async () => {
    const queue = await aQueueOfFailures({ max_attempts: 2 }, 'a', 'b', 'c');
    await client.enqueue(queue, { claim_id: 'd' });
    const reply = await operate(queue, 'dead-letters/redrive', { claim_ids: ['b', 'nobody', 'a'], actor: 'op' });
    expect(reply).toMatchObject({ status: 200, body: { redriven: 2, not_found: ['nobody'] } });
    expect(idsOf(await lettersOf(queue))).toEqual(['c']);
    expect((await client.queue(queue)).body).toMatchObject({ runs: 3, dead_letters: 1 });
    const again = { outcome: 'retry', retry_after_ms: 0 } as const;
    const taken = await client.takeOne({ queue });
    expect(taken).toMatchObject({ claim_id: 'a', attempt: 2, max_attempts: 3, payload: { of: 'a' } });
    expect(await client.release(taken, again)).toMatchObject({ body: { state: 'waiting' } });
    const last = await client.takeOne({ queue });
    expect(last).toMatchObject({ claim_id: 'a', attempt: 3 });
    expect(await client.release(last, again)).toMatchObject({ body: { state: 'dead' } });
    expect(await end(queue, {})).toBe('b');
    expect(await end(queue, {})).toBe('d');
  });

  it('of all takes all, of none is 0', async () => {
    const queue = await aQueueOfFailures({}, 'a', 'b');
    const all = { all: true, actor: 'op' };
    expect((await operate(queue, 'dead-letters/redrive', all)).body).toEqual({ redriven: 2, not_found: [] });
    expect((await operate(queue, 'dead-letters/redrive', all)).body).toEqual({ redriven: 0, not_found: [] });
    expect(await client.enqueue(queue, { claim_id: 'a' })).toMatchObject({ status: 200, body: { state: 'waiting' } });
  });

  it('of a queue that nobody made is 404', async () => {
    const body = { all: true, actor: 'op' };
    for (const verb of ['dead-letters/redrive', 'dead-letters/purge', 'unblock'])
      expect(await operate(anId('q'), verb, verb === 'unblock' ? { actor: 'op' } : body)).toMatchObject({
        status: 404,
        body: { code: 'queue_not_found' },
      });
  });

  it.each([
    { all: true },
    { actor: 'op' },
    { claim_ids: [], actor: 'op' },
    { claim_ids: ['a'], all: true, actor: 'op' },
    { all: false, actor: 'op' },
  ])('and purge of %j is 400, and nothing moves', async (body) => {
    const queue = await aQueueOfFailures({}, 'a');
    for (const verb of ['redrive', 'purge'])
      expect(await operate(queue, `dead-letters/${verb}`, body)).toMatchObject({
        status: 400,
        body: { code: 'invalid_request' },
      });
    expect(idsOf(await lettersOf(queue))).toEqual(['a']);
  });
});

describe('purge', () => {
  it('deletes dead letters and nothing else', async () => {
    const queue = await aQueueOfFailures({}, 'a', 'b', 'c');
    expect((await operate(queue, 'dead-letters/purge', { claim_ids: ['a', 'x'], actor: 'op' })).body).toEqual({
      purged: 1,
      not_found: ['x'],
    });
    expect(idsOf(await lettersOf(queue))).toEqual(['b', 'c']);
    expect((await operate(queue, 'dead-letters/purge', { all: true, actor: 'op' })).body).toEqual({
      purged: 2,
      not_found: [],
    });
    expect(await lettersOf(queue)).toEqual([]);
    expect((await client.queue(queue)).body.dead_letters).toBe(0);
    // How it ended is remembered all the same.
    expect(await client.enqueue(queue, { claim_id: 'a' })).toMatchObject({ status: 200, body: { state: 'released' } });
  });
});

describe('a queue that stops at failures', () => {
  it('stands still behind one until an operator retries it', async () => {
    const queue = await aQueueOfFailures({ on_failure: 'stop' }, 'a');
    await client.enqueue(queue, { claim_id: 'b' });
    expect(await client.take({ queue })).toMatchObject(nothing);
    expect(await lettersOf(queue)).toMatchObject([{ claim_id: 'a', reason: 'failure', blocks: true }]);
    expect((await client.queue(queue)).body).toMatchObject({ blocked: true, runs: 1, dead_letters: 1 });
    expect(await client.get(queue, 'b')).toMatchObject({ body: { waiting_for: 'blocked' } });
    expect(await operate(queue, 'claims/a/retry')).toMatchObject({
      status: 200,
      body: { claim_id: 'a', kind: 'run', state: 'waiting', attempts: 1, due_at: null },
    });
    expect((await client.queue(queue)).body.blocked).toBe(false);
    expect(await end(queue, {})).toBe('a');
    expect(await end(queue, {})).toBe('b');
  });

  it('goes on when an operator skips it: the dead letter stays and blocks no more', async () => {
    const queue = await aQueueOfFailures({ on_failure: 'stop' }, 'a');
    await client.enqueue(queue, { claim_id: 'b' });
    expect(await operate(queue, 'claims/a/skip', { actor: 'op', reason: 'known' })).toMatchObject({
      status: 200,
      body: { claim_id: 'a', state: 'released', outcome: 'failure' },
    });
    expect(await lettersOf(queue)).toMatchObject([{ claim_id: 'a', reason: 'failure', blocks: false }]);
    expect(await end(queue, {})).toBe('b');
    expect(await operate(queue, 'claims/a/skip')).toMatchObject({ status: 409, body: { code: 'not_blocking' } });
  });

  it('goes on when what blocks is purged or redriven', async () => {
    for (const verb of ['purge', 'redrive']) {
      const queue = await aQueueOfFailures({ on_failure: 'stop' }, 'a');
      await client.enqueue(queue, { claim_id: 'b' });
      await operate(queue, `dead-letters/${verb}`, { all: true, actor: 'op' });
      expect((await client.queue(queue)).body.blocked).toBe(false);
      expect(await client.takeOne({ queue })).toMatchObject({ claim_id: verb === 'purge' ? 'b' : 'a' });
    }
  });
});

describe('a line that waits for a retried run', () => {
  /** `a` waits for a minute, `b` behind it. */
  async function aBlockedQueue(name = anId('q')): Promise<string> {
    await client.enqueue(name, { claim_id: 'a', payload: 1 });
    await client.enqueue(name, { claim_id: 'b' });
    await end(name, { outcome: 'retry', retry_after_ms: 60_000, error: 'busy' });
    return name;
  }

  it('is listed with what blocks it', async () => {
    const tag = anId('t');
    const waits = await aBlockedQueue(`${tag}/waits`);
    const stopped = await aQueueOfFailures({ on_failure: 'stop' }, 'x');
    await aQueueOfFailures({}, 'y');
    const found = await blockedOf(tag);
    expect(found).toMatchObject([
      {
        queue: waits,
        on_failure: 'wait',
        waiting: 1,
        delayed: 1,
        blocked_by: [{ claim_id: 'a', state: 'delayed', reason: 'retry', attempts: 1, error: 'busy' }],
      },
    ]);
    expect(shapeOf(found[0])).toEqual({
      queue: 'string',
      on_failure: 'string',
      since: 'instant',
      waiting: 'integer',
      delayed: 'integer',
      blocked_by: 'array',
    });
    expect(shapeOf(found[0]?.blocked_by[0])).toMatchObject({ due_at: 'instant' });
    expect(await blockedOf(stopped)).toMatchObject([
      {
        on_failure: 'stop',
        waiting: 0,
        blocked_by: [{ claim_id: 'x', state: 'dead', reason: 'failure', error: 'x failed', due_at: null }],
      },
    ]);
  });

  it('is listed in pages', async () => {
    const tag = anId('t');
    for (const name of ['c', 'a', 'b']) await aBlockedQueue(`${tag}/${name}`);
    const pages: string[][] = [];
    for (let cursor: string | null = ''; cursor !== null;) {
      const page: Answered<BlockedPage> = await client.ask(
        'GET',
        `/v1/blocked?prefix=${tag}&limit=2&cursor=${encodeURIComponent(cursor)}`,
      );
      pages.push(page.body.queues?.map(({ queue }) => queue) ?? []);
      cursor = page.body.next_cursor ?? null;
    }
    expect(pages).toEqual([[`${tag}/a`, `${tag}/b`], [`${tag}/c`]]);
  });

  it('goes on when an operator retries it now', async () => {
    const queue = await aBlockedQueue();
    expect(await operate(queue, 'claims/a/retry', { actor: 'op', reason: 'mended' })).toMatchObject({
      status: 200,
      body: { claim_id: 'a', state: 'waiting', attempts: 1, due_at: null },
    });
    expect(await blockedOf(queue)).toEqual([]);
    expect(await client.takeOne({ queue })).toMatchObject({ claim_id: 'a', attempt: 2, payload: 1 });
  });

  it('goes on when an operator skips it: it is a dead letter then', async () => {
    const queue = await aBlockedQueue();
    expect(await operate(queue, 'claims/a/skip', { actor: 'op', reason: 'known' })).toMatchObject({
      status: 200,
      body: { claim_id: 'a', kind: 'run', state: 'dead', reason: 'skipped', actor: 'op', detail: 'known' },
    });
    expect(await lettersOf(queue)).toMatchObject([{ claim_id: 'a', reason: 'skipped', blocks: false, payload: 1 }]);
    expect(await client.takeOne({ queue })).toMatchObject({ claim_id: 'b' });
  });

  it('goes on when an operator unblocks it: what blocked keeps its time', async () => {
    const queue = await aBlockedQueue();
    expect((await operate(queue, 'unblock', { actor: 'op', reason: 'hurry' })).body).toEqual({ unblocked: 1 });
    expect(await blockedOf(queue)).toEqual([]);
    expect(await client.takeOne({ queue })).toMatchObject({ claim_id: 'b' });
    expect(await client.get(queue, 'a')).toMatchObject({ body: { state: 'delayed', attempt: 1 } });
    expect((await operate(queue, 'unblock')).body).toEqual({ unblocked: 0 });
  });
});

describe('retry and skip by an operator', () => {
  it('a run that waits, is held or has ended cannot be retried', async () => {
    const queue = anId('q');
    await client.enqueue(queue, { claim_id: 'a' });
    const notRetryable = { status: 409, body: { code: 'not_retryable' } };
    expect(await operate(queue, 'claims/a/retry')).toMatchObject(notRetryable);
    const taken = await client.takeOne({ queue });
    expect(await operate(queue, 'claims/a/retry')).toMatchObject(notRetryable);
    await client.release(taken);
    expect(await operate(queue, 'claims/a/retry')).toMatchObject(notRetryable);
  });

  it('a run that blocks nothing cannot be skipped', async () => {
    const queue = anId('q');
    const notBlocking = { status: 409, body: { code: 'not_blocking' } };
    await client.enqueue(queue, { claim_id: 'later', delay_ms: 60_000 });
    await client.enqueue(queue, { claim_id: 'a' });
    for (const claimId of ['later', 'a'])
      expect(await operate(queue, `claims/${claimId}/skip`)).toMatchObject(notBlocking);
    await client.takeOne({ queue });
    expect(await operate(queue, 'claims/a/skip')).toMatchObject(notBlocking);
  });

  it('a run that was enqueued for later may be retried, which is now', async () => {
    const queue = anId('q');
    await client.enqueue(queue, { claim_id: 'later', delay_ms: 60_000 });
    expect(await operate(queue, 'claims/later/retry')).toMatchObject({ status: 200, body: { state: 'waiting' } });
    expect(await client.takeOne({ queue })).toMatchObject({ claim_id: 'later', attempt: 1 });
  });

  it.each(['retry', 'skip'])('%s of an unknown run or queue is 404, without an actor 400', async (verb) => {
    const queue = anId('q');
    await client.enqueue(queue, { claim_id: 'a' });
    expect(await operate(queue, `claims/nobody/${verb}`)).toMatchObject({
      status: 404,
      body: { code: 'claim_not_found' },
    });
    expect(await operate(anId('q'), `claims/a/${verb}`)).toMatchObject({
      status: 404,
      body: { code: 'queue_not_found' },
    });
    expect(await operate(queue, `claims/a/${verb}`, {})).toMatchObject({ status: 400 });
  });
});
