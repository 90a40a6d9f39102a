import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { moveClock } from '../support/database-clock.ts';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { aBuild, aMergeQueue, MergeQueueClient, type MergeBody } from '../support/merge-queue-client.ts';
import { startTestApp, type TestApp, withoutLeader } from '../support/test-app.ts';
import { until } from '../support/until.ts';

const instant = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/) as string;
const integer = expect.any(Number) as number;
const config = { stabilize_duration: 30, ttl: 200, expected_request_count: 2, delay_assignment_count: 0 };

let database: TestDatabase;
let app: TestApp;
let client: MergeQueueClient;

beforeAll(async () => {
  database = await freshDatabase();
  await withoutLeader(database);
  // As the reference's own end-to-end tests, but for a count of 2.
  app = await startTestApp(database, { MERGE_QUEUE_EXPECTED_COUNT: '2' });
  client = new MergeQueueClient(app.url);
});
afterAll(async () => {
  await app[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

function contextOf(number: number, status: string, ...stack: readonly number[]) {
  const request = { head_sha: `sha of ${number}`, head_ref: aBuild(number).head_ref, priority: number, status };
  return stack.length === 0
    ? { request }
    : { request, stacked_pull_requests: stack.map((pullRequest) => ({ number: pullRequest })) };
}

/** A queue in which build 1 waits and build 2 has the lease. */
async function aHeldQueue(): Promise<{ queue: string; token: number; holder: MergeBody }> {
  const queue = aMergeQueue();
  await client.acquire(queue, aBuild(1));
  const { body } = await client.acquire(queue, aBuild(2));
  expect(body.request?.status).toBe('acquired');
  return { queue, token: body.fencing_token ?? 0, holder: body };
}

describe('2.2 answers', () => {
  it('pending: no stack at all (10.9), and why it waits, when to ask again, beside the original fields', async () => {
    const { status, headers, body } = await client.acquire(aMergeQueue(), aBuild(1));
    expect(status).toBe(200);
    expect(body).toEqual({
      ...contextOf(1, 'pending'),
      position: 1,
      waiting_for: 'stabilisation',
      blocked_by: null,
      window_remaining_ms: 30_000,
      registered: 1,
      delays_left: 0,
      poll_after_ms: 15_000,
      waited_ms: integer,
    });
    expect(headers.get('retry-after')).toBe('15');
  });

  it('acquired: the stack ascending by priority, the holder included, and the grant', async () => {
    const { holder } = await aHeldQueue();
    expect(holder).toEqual({
      ...contextOf(2, 'acquired', 1, 2),
      fencing_token: integer,
      acquired_at: instant,
      expires_at: instant,
      ttl_remaining_ms: 2_000_000,
      renew_after_ms: 666_666,
      waited_ms: integer,
    });
  });

  it('pending while somebody holds: who, and since when', async () => {
    const { queue } = await aHeldQueue();
    const { body } = await client.acquire(queue, aBuild(1));
    expect(body).toMatchObject({
      ...contextOf(1, 'pending'),
      waiting_for: 'held',
      blocked_by: { ...contextOf(2, 'acquired').request, held_for_ms: integer },
      window_remaining_ms: null,
    });
    expect(body).not.toHaveProperty('stacked_pull_requests');
  });

  it('show and list have the original fields and no other, known ascending by priority', async () => {
    const { queue } = await aHeldQueue();
    const shown = {
      last_updated_at: instant,
      acquired: contextOf(2, 'acquired', 1, 2),
      known: [contextOf(1, 'pending'), contextOf(2, 'acquired', 1, 2)],
      config,
    };
    expect((await client.show(queue)).body).toEqual(shown);
    const { body } = await client.ask('GET', '/merge-queue');
    expect(body[queue.replaceAll('/', ':')]).toEqual(shown);
  });

  it('10.10: show has a completed and a failed holder too', async () => {
    for (const [status, shown] of [
      ['success', 'completed'],
      ['failure', 'failure'],
      ['cancelled', 'cancelled'],
    ] as const) {
      const { queue } = await aHeldQueue();
      const released = await client.release(queue, { ...aBuild(2), status });
      expect([released.status, released.body]).toEqual([200, contextOf(2, shown)]);
      const { body } = await client.show(queue);
      expect(body['acquired']).toEqual(contextOf(2, shown));
      expect(body['known']).toEqual([
        contextOf(1, 'pending'),
        ...(status === 'success' ? [contextOf(2, 'completed')] : []),
      ]);
    }
  });

  it('completed: the losers of a success are told so, without a stack and without a place', async () => {
    const { queue } = await aHeldQueue();
    await client.release(queue, { ...aBuild(2), status: 'success' });
    const { status, body, headers } = await client.acquire(queue, aBuild(1));
    expect([status, body, headers.get('retry-after')]).toEqual([200, contextOf(1, 'completed'), null]);
  });

  it('a queue nobody used is shown as an empty one, is not made by that, and is not in the list', async () => {
    const queue = aMergeQueue();
    const { body } = await client.show(queue);
    expect(body).toEqual({ last_updated_at: instant, acquired: null, known: [], config });
    expect((await client.ask('GET', '/merge-queue')).body).not.toHaveProperty(queue.replaceAll('/', ':'));
  });

  it('clear answers the new state', async () => {
    const { queue } = await aHeldQueue();
    const { status, body } = await client.ask('DELETE', `/merge-queue/${queue}`);
    expect([status, body]).toEqual([200, { last_updated_at: instant, acquired: null, known: [], config }]);
  });

  it('the settings are shown in whole seconds', async () => {
    const queue = aMergeQueue();
    await client.ask('PUT', `/v1/merge-queues/${queue}`, {
      body: { stabilisation_ms: 1999, ttl_ms: 2000, expected_count: 0, delay_count: 3 },
      type: 'application/json',
    });
    expect((await client.show(queue)).body['config']).toEqual({
      stabilize_duration: 1,
      ttl: 2,
      expected_request_count: 0,
      delay_assignment_count: 3,
    });
  });
});

describe('2.3 refusals: 10.8, misuse of release is 400 and misuse of acquire 409', () => {
  const lock = (verb: string, context: string) => ({ error: `Couldn't ${verb} the lock`, error_context: context });
  const mismatch = (number: number, got: string) =>
    `status missmatch for commit sha of ${number}; expected: \`success|failure\`, got: \`${got}\``;

  it('acquire by a newcomer while somebody holds, has succeeded or has failed', async () => {
    const { queue } = await aHeldQueue();
    const refused = async () => {
      const { status, body, headers } = await client.acquire(queue, aBuild(9));
      expect([status, body]).toEqual([409, lock('acquire', 'lease already acquired')]);
      expect(headers.get('retry-after')).toBe('15');
    };
    await refused();
    await client.release(queue, { ...aBuild(2), status: 'failure' });
    await refused();
    await client.acquire(queue, aBuild(1));
    await client.acquire(queue, aBuild(1));
    const other = await aHeldQueue();
    await client.release(other.queue, { ...aBuild(2), status: 'success' });
    const { status, body } = await client.acquire(other.queue, aBuild(9));
    expect([status, body]).toEqual([409, lock('acquire', 'lease already acquired')]);
  });

  it('acquire by the holder, and by a completed holder', async () => {
    const { queue } = await aHeldQueue();
    for (const status of ['acquired', 'completed']) {
      if (status === 'completed') await client.release(queue, { ...aBuild(2), status: 'success' });
      const answer = await client.acquire(queue, aBuild(2));
      expect([answer.status, answer.body]).toEqual([409, lock('acquire', mismatch(2, 'pending'))]);
      expect(answer.headers.get('retry-after')).toBeNull();
    }
  });

  it('release when nothing is held, and by one that is not the holder', async () => {
    const unheld = await client.release(aMergeQueue(), { ...aBuild(1), status: 'success' });
    expect([unheld.status, unheld.body]).toEqual([400, lock('release', 'no lease acquired')]);
    const { queue } = await aHeldQueue();
    for (const number of [1, 9]) {
      const { status, body } = await client.release(queue, { ...aBuild(number), status: 'success' });
      expect([status, body]).toEqual([400, lock('release', `commit sha of ${number} does not hold the lease`)]);
    }
  });

  it('release again after a success: with losers left, and with nobody left, which opens the queue', async () => {
    const { queue } = await aHeldQueue();
    const release = async () => {
      const { status, body } = await client.release(queue, { ...aBuild(2), status: 'success' });
      return [status, body];
    };
    await release();
    expect(await release()).toEqual([400, lock('release', mismatch(2, 'success'))]);
    await client.acquire(queue, aBuild(1));
    expect(await release()).toEqual([
      400,
      lock('release', 'invalid status success for new LeaseRequest with HeadSHA sha of 2'),
    ]);
    expect(await release()).toEqual([400, lock('release', 'no lease acquired')]);
  });

  it('release again after a failure', async () => {
    const { queue } = await aHeldQueue();
    await client.release(queue, { ...aBuild(2), status: 'failure' });
    const { status, body } = await client.release(queue, { ...aBuild(2), status: 'failure' });
    expect([status, body]).toEqual([400, lock('release', 'lease already acquired')]);
  });

  it('a wrong fencing token: acquire and renew 409, release 400', async () => {
    const { queue, token } = await aHeldQueue();
    const wrong = { fencing_token: token - 1 };
    expect(await client.acquire(queue, aBuild(2, wrong))).toMatchObject({
      status: 409,
      body: lock('acquire', 'fencing token missmatch'),
    });
    expect(await client.renew(queue, { head_sha: 'sha of 2', ...wrong })).toMatchObject({
      status: 409,
      body: { error: "Couldn't renew the lease", error_context: 'fencing token missmatch' },
    });
    expect(await client.release(queue, { ...aBuild(2, wrong), status: 'success' })).toMatchObject({
      status: 400,
      body: lock('release', 'fencing token missmatch'),
    });
  });

  it('W9: where the queue asks for it, a release without token is 400', async () => {
    const queue = aMergeQueue();
    const settings = { body: { require_token: true, expected_count: 1 }, type: 'application/json' };
    await client.ask('PUT', `/v1/merge-queues/${queue}`, settings);
    const { body } = await client.acquire(queue, aBuild(1));
    expect(await client.release(queue, { ...aBuild(1), status: 'success' })).toMatchObject({
      status: 400,
      body: lock('release', 'fencing token required'),
    });
    const shown = { ...aBuild(1, { fencing_token: body.fencing_token }), status: 'success' };
    expect((await client.release(queue, shown)).status).toBe(200);
  });
});

describe('what the original lacks', () => {
  it('W2: the holder that asks again with its request id gets its lease again', async () => {
    const queue = aMergeQueue();
    await client.acquire(queue, aBuild(1));
    const asked = aBuild(2, { request_id: 'run 7, attempt 1' });
    const first = (await client.acquire(queue, asked)).body;
    const again = await client.acquire(queue, asked);
    expect([again.status, again.body.fencing_token]).toEqual([200, first.fencing_token]);
    expect((await client.acquire(queue, aBuild(2, { request_id: 'another' }))).status).toBe(409);
    const shown = await client.acquire(queue, aBuild(2, { fencing_token: first.fencing_token }));
    expect(shown.body.fencing_token).toBe(first.fencing_token);
  });

  it('W10: a release with its token can be repeated, also after the queue went on', async () => {
    const { queue, token } = await aHeldQueue();
    const release = () => client.release(queue, { ...aBuild(2, { fencing_token: token }), status: 'success' });
    const first = await release();
    expect([first.status, first.body]).toEqual([200, contextOf(2, 'completed')]);
    expect((await release()).body).toEqual(first.body);
    await client.acquire(queue, aBuild(1));
    await client.acquire(queue, aBuild(5));
    const late = await release();
    expect([late.status, late.body]).toEqual([200, first.body]);
    const otherwise = await client.release(queue, { ...aBuild(2, { fencing_token: token }), status: 'failure' });
    expect(otherwise).toMatchObject({ status: 400, body: { error_context: 'the lease is over: success' } });
  });

  it('W1: renew keeps the lease, and tells 410 once it is over', async () => {
    const { queue, token, holder } = await aHeldQueue();
    const lease = { head_sha: 'sha of 2', fencing_token: token };
    const renewed = await client.renew(queue, lease);
    expect([renewed.status, Object.keys(renewed.body)]).toEqual([200, Object.keys(holder)]);
    await client.release(queue, { ...aBuild(2), status: 'failure' });
    const { status, body } = await client.renew(queue, lease);
    expect([status, body]).toEqual([
      410,
      { error: "Couldn't renew the lease", error_context: 'the lease is over: failure', code: 'lease_lost' },
    ]);
  });

  it('W1: a holder not heard for its hold_ttl_ms loses the lease to the next call', async () => {
    await using own = await freshDatabase();
    await withoutLeader(own);
    await using replica = await startTestApp(own, { MERGE_QUEUE_EXPECTED_COUNT: '2' });
    const calls = new MergeQueueClient(replica.url);
    const queue = aMergeQueue();
    await calls.acquire(queue, aBuild(1));
    const { body } = await calls.acquire(queue, aBuild(2, { hold_ttl_ms: 60_000 }));
    expect(body['ttl_remaining_ms']).toBe(60_000);
    await moveClock(own, 60_001);
    expect((await calls.acquire(queue, aBuild(1))).body.request?.status).toBe('acquired');
    const lost = await calls.renew(queue, { head_sha: 'sha of 2', fencing_token: body.fencing_token });
    expect([lost.status, lost.body.error_context]).toEqual([410, 'the lease is over: expired']);
  });

  it('W19: a call with wait_ms is answered when the lease becomes its own', async () => {
    const { queue, token } = await aHeldQueue();
    const waiting = client.acquire(queue, aBuild(1, { wait_ms: 60_000 }));
    await untilWaiting(1);
    await client.release(queue, { ...aBuild(2, { fencing_token: token }), status: 'failure' });
    const { body } = await waiting;
    expect(body).toMatchObject(contextOf(1, 'acquired', 1));
    expect(body['waited_ms']).toBeLessThan(30_000);
  });

  it('W19: a newcomer kept out waits too, until it is let in', async () => {
    const { queue } = await aHeldQueue();
    const waiting = client.acquire(queue, aBuild(9, { wait_ms: 60_000 }));
    await untilWaiting(1);
    await client.release(queue, { ...aBuild(2), status: 'success' });
    await client.acquire(queue, aBuild(1));
    await client.acquire(queue, aBuild(8));
    // The second to register completes the count, and is the highest.
    expect((await waiting).body).toMatchObject(contextOf(9, 'acquired', 8, 9));
  });

  it('W19: when the time is over the answer is how things stand', async () => {
    const { status, body } = await client.acquire(aMergeQueue(), aBuild(1, { wait_ms: 400 }));
    expect([status, body.request?.status]).toEqual([200, 'pending']);
    // It counts from its registration, a call after the request came.
    expect(body['waited_ms']).toBeGreaterThan(200);
  });

  it('a replica that stops answers those who wait, with how they stand', async () => {
    const stopping = await startTestApp(database);
    const queue = aMergeQueue();
    const waiting = new MergeQueueClient(stopping.url).acquire(queue, aBuild(1, { wait_ms: 60_000 }));
    await untilWaiting(1, stopping.url);
    await stopping.app.stop();
    const { status, body, headers } = await waiting;
    expect([status, body.request?.status, headers.get('connection')]).toEqual([200, 'pending', 'close']);
  });

  it('a client that hangs up is not given the lease afterwards', async () => {
    const { queue } = await aHeldQueue();
    const gone = new AbortController();
    const waiting = client.acquire(queue, aBuild(1, { wait_ms: 60_000 }), { signal: gone.signal });
    await untilWaiting(1);
    gone.abort();
    await expect(waiting).rejects.toThrow();
    await untilWaiting(0);
    await client.release(queue, { ...aBuild(2), status: 'failure' });
    expect((await client.show(queue)).body['acquired']).toEqual(contextOf(2, 'failure'));
  });
});

/** Waits until so many calls wait on this replica. */
async function untilWaiting(count: number, url = app.url): Promise<void> {
  const waiting = async () =>
    Number(/^signalbox_waiting_builds (\d+)$/m.exec(await (await fetch(`${url}/metrics`)).text())?.[1]);
  await until(async () => (await waiting()) === count, { what: `${count} calls wait` });
}
