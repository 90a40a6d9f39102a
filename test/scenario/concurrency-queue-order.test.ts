import { describe, expect, it } from 'vitest';
import { mostAtOnce, readGrants } from '../support/admission-history.ts';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { type Acquire, anId, held, type TestClient, waiting } from '../support/http-client.ts';
import { oneReplica } from '../support/one-replica.ts';
import { rowsOf } from '../support/sql-verbs.ts';
import { lineUp, startTestApp, untilWaiting } from '../support/test-app.ts';

/** What the memory backend of the field was tested for, as this service does it; the rows are in concurrency-queue-rows.ts. */
let database: TestDatabase;
let client: TestClient;
oneReplica((parts) => ({ database, client } = parts));

const heldIn = async (queue: string) => (await client.queue(queue)).body.holders.map(({ claim_id }) => claim_id).sort();
const lineOf = async (queue: string, of = client) => (await of.queue(queue)).body.line.map(({ claim_id }) => claim_id);
const release = async (queue: string, claimId: string, of = client) => of.release(held(await of.get(queue, claimId)));
const askAll = async (queue: string, ...claimIds: readonly string[]) =>
  (
    await client.batch(
      claimIds.map((claim_id) => ({ op: 'acquire', queue, claim_id, holder: `holder of ${claim_id}` })),
    )
  ).body.results ?? [];

describe('order', () => {
  it('P40: by priority, each once; raised, the next two; lowered, nobody until enough have left', async () => {
    const queue = anId('q');
    await client.put(queue, { concurrency_limit: 0 });
    for (const [claim_id, priority] of [
      ['c', 1],
      ['a', 3],
      ['b', 2],
      ['d', 0],
      ['e', 0],
    ] as const)
      await client.acquire(queue, { claim_id, holder: claim_id, priority });
    await client.put(queue, { concurrency_limit: 1 });
    expect(await heldIn(queue)).toEqual(['a']);
    const again = held(await client.acquire(queue, { claim_id: 'a', holder: 'a', priority: 9 }));
    expect(again.fencing_token).toBe(held(await client.get(queue, 'a')).fencing_token);
    await client.release(again);
    expect(await heldIn(queue)).toEqual(['b']);
    await release(queue, 'b');
    await client.put(queue, { concurrency_limit: 2 });
    expect(await heldIn(queue)).toEqual(['c', 'd']);
    await client.put(queue, { concurrency_limit: 1 });
    await release(queue, 'c');
    expect(await heldIn(queue)).toEqual(['d']);
    await release(queue, 'd');
    expect(await heldIn(queue)).toEqual(['e']);
  });

  it('P42: a claim in line that asks again with a better priority keeps its place', async () => {
    const queue = anId('q');
    await client.hold(queue);
    await lineUp(client, queue, 'first', 'second');
    const better = { claim_id: 'second', holder: 'holder of second', priority: 9 };
    expect(waiting(await client.acquire(queue, better))).toMatchObject({ position: 2, priority: 0 });
    expect(await lineOf(queue)).toEqual(['first', 'second']);
  });

  it('P43: two lists of two: one after another; a place more is for the oldest that waits, and for it only', async () => {
    const queue = anId('q');
    await askAll(queue, 'a1', 'a2');
    await askAll(queue, 'b1', 'b2');
    expect(await heldIn(queue)).toEqual(['a1']);
    await release(queue, 'a1');
    expect(await heldIn(queue)).toEqual(['a2']);
    await client.put(queue, { concurrency_limit: 2 });
    expect(await heldIn(queue)).toEqual(['a2', 'b1']);
    expect(await lineOf(queue)).toEqual(['b2']);
  });

  it('P44: the same list asked three times is granted once; a later list only waits', async () => {
    const queue = anId('q');
    await client.put(queue, { concurrency_limit: 2 });
    const first = await askAll(queue, 'a', 'b', 'c');
    expect(first.map(({ status }) => status)).toEqual([200, 200, 202]);
    const tokens = first.map(({ body }) => body.fencing_token);
    for (let round = 0; round < 2; round++)
      expect((await askAll(queue, 'a', 'b', 'c')).map(({ body }) => body.fencing_token)).toEqual(tokens);
    expect((await client.queue(queue)).body).toMatchObject({ held: 2, waiting: 1 });
    expect((await askAll(queue, 'd', 'e')).map(({ status }) => status)).toEqual([202, 202]);
    expect(await lineOf(queue)).toEqual(['c', 'd', 'e']);
  });

  it('P05, L8: whoever holds and asks for more stands behind those who wait already', async () => {
    const queue = anId('q');
    await client.hold(queue, { claim_id: 'aaa', holder: 'event 2' });
    await lineUp(client, queue, 'ccc');
    await client.acquire(queue, { claim_id: 'bbb', holder: 'event 2' });
    await release(queue, 'aaa');
    expect(await heldIn(queue)).toEqual(['ccc']);
    expect(await lineOf(queue)).toEqual(['bbb']);
  });

  it('P70, M18: ten clients, one place: each has it once, and by the recorded times never two at once', async () => {
    const queue = anId('q');
    const lifeOf = async (claim_id: string) => {
      const wish: Acquire = { claim_id, holder: claim_id, wait_ms: 20_000 };
      await client.release(held(await client.acquire(queue, wish)));
    };
    await Promise.all(Array.from({ length: 10 }, (_, n) => lifeOf(`run-${n}`)));
    const grants = await readGrants(database, queue);
    expect(new Set(grants.map(({ claimId }) => claimId)).size).toBe(10);
    expect(grants).toHaveLength(10);
    expect(mostAtOnce(grants.map(({ acquiredAt, endedAt }) => ({ from: acquiredAt, to: endedAt ?? Infinity })))).toBe(
      1,
    );
  });

  it('P86: given back to be tried again, it is at its old place; one that waits cannot be; after a shrink nobody gets its place', async () => {
    const queue = anId('q');
    await client.put(queue, { concurrency_limit: 2 });
    const [a, b] = [await client.hold(queue, { claim_id: 'a' }), await client.hold(queue, { claim_id: 'b' })];
    const { claim_id: c } = waiting(await client.acquire(queue, { claim_id: 'c' }));
    expect((await client.release({ ...a, claim_id: c }, { outcome: 'retry', retry_after_ms: 0 })).status).toBe(409);
    await client.put(queue, { concurrency_limit: 1 });
    await client.release(a, { outcome: 'retry', retry_after_ms: 0 });
    expect(await lineOf(queue)).toEqual(['a', 'c']);
    expect(await heldIn(queue)).toEqual(['b']);
    await client.release(b);
    expect(await heldIn(queue)).toEqual(['a']);
  });
});

describe('answers that got lost, and claims that were replaced', () => {
  it('P81: a grant whose answer was never read is told again, with the same token, and takes no second place', async () => {
    const queue = anId('q');
    await client.put(queue, { concurrency_limit: 2 });
    const wish = { claim_id: 'a', holder: 'a' };
    const before = held(await client.acquire(queue, wish));
    expect(held(await client.acquire(queue, wish)).fencing_token).toBe(before.fencing_token);
    expect((await client.queue(queue)).body.held).toBe(1);
    expect(await client.acquire(queue, { ...wish, claim_id: 'b' })).toMatchObject({ status: 200 });
  });

  it('P85: a late word of a grant that was followed by another of its holder changes nothing', async () => {
    const queue = anId('q');
    const old = await client.hold(queue, { claim_id: 'run', holder: 'pod' });
    await client.ask('POST', `/v1/queues/${queue}/claims/run/break`, { reason: 'replaced', actor: 'ann' });
    const { claim_id, fencing_token } = await client.hold(queue, { claim_id: 'run-2', holder: 'pod' });
    expect(await client.renew(old)).toMatchObject({ status: 410, body: { code: 'lease_lost', reason: 'broken' } });
    const late = { ...old, claim_id };
    for (const call of [client.renew(late), client.release(late)])
      expect(await call).toMatchObject({ status: 409, body: { code: 'token_mismatch' } });
    expect(held(await client.get(queue, 'run-2')).fencing_token).toBe(fencing_token);
  });
});

describe('restarts and removals', () => {
  it('P46, M7, M8, M15: with every replica gone and a new one there, holders and line are as they were, those that ended are not', async () => {
    await using own = await freshDatabase();
    const queues = ['q1', 'q2'];
    {
      await using before = await startTestApp(own);
      for (const queue of queues) {
        await before.client.release(await before.client.hold(queue, { claim_id: 'done' }));
        await before.client.hold(queue, { claim_id: 'going', ttl_ms: 300_000 });
        await lineUp(before.client, queue, 'pqr', 'abc', 'gone');
        await before.client.cancel(queue, 'gone');
      }
    }
    await using after = await startTestApp(own);
    for (const queue of queues) {
      expect((await after.client.queue(queue)).body).toMatchObject({ held: 1, waiting: 2 });
      expect(await lineOf(queue, after.client)).toEqual(['pqr', 'abc']);
      await release(queue, 'going', after.client);
      expect(held(await after.client.acquire(queue, { claim_id: 'pqr', holder: 'holder of pqr' })).claim_id).toBe(
        'pqr',
      );
      expect((await after.client.queue(queue)).body).toMatchObject({ held: 1, waiting: 1 });
    }
  });

  it('P48, M10: a hundred queues made, asked for, left and deleted all at once: no answer but what was asked for', async () => {
    const prefix = anId('p48');
    const odd: unknown[] = [];
    const expectStatus =
      (...allowed: readonly number[]) =>
      (reply: { status: number; body: unknown }) => {
        if (!allowed.includes(reply.status)) odd.push(reply);
      };
    // 404: it was deleted while it was asked for. 410: with its claims.
    const lives = Array.from({ length: 100 }, async (_, n) => {
      const queue = `${prefix}/${n}`;
      await Promise.all([
        client.acquire(queue, { claim_id: 'a', holder: 'a' }).then(expectStatus(200, 202, 404, 410)),
        client.acquire(queue, { claim_id: 'b', holder: 'b' }).then(expectStatus(200, 202, 404, 410)),
        client.cancel(queue, 'b').then(expectStatus(200, 404)),
        client.ask('DELETE', `/v1/queues/${encodeURIComponent(queue)}?force=true`).then(expectStatus(200, 404)),
      ]);
    });
    await Promise.all(lives);
    expect(odd).toEqual([]);
    expect(await client.acquire(anId('q'))).toMatchObject({ status: 200 });
  });

  it('P60: a waiting claim taken out shortens the line by one, a held one hands on, and with its queue all go', async () => {
    const queue = anId('q');
    await client.hold(queue, { claim_id: 'going' });
    await lineUp(client, queue, 'a', 'b');
    const asking = client.acquire(queue, { claim_id: 'c', wait_ms: 20_000 });
    await untilWaiting(client, queue, 3);
    await client.cancel(queue, 'a');
    expect(await lineOf(queue)).toEqual(['b', 'c']);
    await client.ask('POST', `/v1/queues/${queue}/claims/going/break`, { reason: 'deleted', actor: 'ann' });
    expect(await heldIn(queue)).toEqual(['b']);
    await client.ask('DELETE', `/v1/queues/${queue}?force=true`);
    expect(await asking).toMatchObject({ status: 410, body: { state: 'broken' } });
    expect((await client.queue(queue)).status).toBe(404);
    expect(await rowsOf(database, 'select from signalbox.waiting where queue = $1', [queue])).toEqual([]);
  });

  it('P76: of six busy queues three are deleted; the others go on, one at a time', async () => {
    const prefix = anId('p76');
    const queues = Array.from({ length: 6 }, (_, n) => `${prefix}/${n}`);
    const lives: Promise<unknown>[] = [];
    for (const queue of queues) {
      const first = await client.hold(queue);
      for (const claim_id of ['a', 'b', 'c'])
        lives.push(
          client.acquire(queue, { claim_id, holder: claim_id, wait_ms: 20_000 }).then(async (reply) => {
            if (reply.status === 200) await client.release(held(reply));
          }),
        );
      await untilWaiting(client, queue, 3);
      lives.push(
        queue < `${prefix}/3`
          ? client.ask('DELETE', `/v1/queues/${encodeURIComponent(queue)}?force=true`)
          : client.release(first),
      );
    }
    await Promise.all(lives);
    for (const queue of queues.slice(3)) {
      const grants = await readGrants(database, queue);
      expect(grants).toHaveLength(4);
      expect(mostAtOnce(grants.map(({ acquiredAt, endedAt }) => ({ from: acquiredAt, to: endedAt ?? Infinity })))).toBe(
        1,
      );
      expect((await client.queue(queue)).body).toMatchObject({ held: 0, waiting: 0 });
    }
    for (const queue of queues.slice(0, 3)) expect((await client.queue(queue)).status).toBe(404);
  });
});

describe('looking', () => {
  it('P62: a queue that is not there, an empty one, one with two going and one waiting; with its line locked it is told at once', async () => {
    const queue = anId('q');
    expect(await client.queue(queue)).toMatchObject({ status: 404, body: { code: 'queue_not_found' } });
    await client.put(queue, { concurrency_limit: 2 });
    expect((await client.queue(queue)).body).toMatchObject({ held: 0, waiting: 0, holders: [], line: [] });
    await client.hold(queue, { claim_id: 'a' });
    await client.hold(queue, { claim_id: 'b' });
    await lineUp(client, queue, 'c');
    const whole = {
      concurrency_limit: 2,
      held: 2,
      waiting: 1,
      holders: [{ claim_id: 'a' }, { claim_id: 'b' }],
      line: [{ claim_id: 'c', position: 1 }],
    };
    const on = await database.connect();
    await on.query('begin');
    await on.query('select from signalbox.lines where queue = $1 for update', [queue]);
    // The lock is only given up when the answer is there.
    expect((await client.queue(queue)).body).toMatchObject(whole);
    await on.query('rollback');
  });
});
