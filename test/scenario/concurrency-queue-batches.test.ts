import { describe, expect, it } from 'vitest';
import { freshDatabase } from '../support/database.ts';
import { anId, held, type TestClient } from '../support/http-client.ts';
import { oneReplica } from '../support/one-replica.ts';
import { startTestApp } from '../support/test-app.ts';

/** The execution order of the field, runs of one event in a given order, as batches; the rows are in concurrency-queue-rows.ts. */
let client: TestClient;
oneReplica((parts) => ({ client } = parts));

interface Member {
  readonly claim_id: string;
  readonly batch?: string;
  readonly batch_rank?: number;
}

/** Asks for all of them, one after another, and says which state each has. */
async function ask(queue: string, members: readonly Member[], of = client): Promise<(string | undefined)[]> {
  const { body } = await of.batch(
    members.map((member) => ({ op: 'acquire', queue, holder: `holder of ${member.claim_id}`, ...member })),
  );
  return (body.results ?? []).map(({ body: { state } }) => state);
}
const lineOf = async (queue: string, of = client) => (await of.queue(queue)).body.line.map(({ claim_id }) => claim_id);
const release = async (queue: string, claimId: string, of = client) => of.release(held(await of.get(queue, claimId)));

/** Ends whoever holds the one place, again and again; who had it, in order. */
async function drain(queue: string, of = client): Promise<string[]> {
  const order: string[] = [];
  for (;;) {
    const [holder] = (await of.queue(queue)).body.holders;
    if (holder === undefined) return order;
    order.push(holder.claim_id);
    await release(queue, holder.claim_id, of);
  }
}

describe('runs of one event', () => {
  it('P05, L8: stand together behind an older wish, and before those that came after the event', async () => {
    const queue = anId('q');
    await client.hold(queue, { claim_id: 'going' });
    await ask(queue, [{ claim_id: 'ccc' }]);
    await ask(queue, [{ claim_id: 'aaa', batch: 'event' }, { claim_id: 'later' }, { claim_id: 'bbb', batch: 'event' }]);
    expect(await lineOf(queue)).toEqual(['ccc', 'aaa', 'bbb', 'later']);
    expect(await drain(queue)).toEqual(['going', 'ccc', 'aaa', 'bbb', 'later']);
  });

  it('P63: go in the order they were given, whichever came first', async () => {
    const queue = anId('q');
    await client.hold(queue, { claim_id: 'going' });
    const byName = ['abc', 'def', 'mno', 'pqr'];
    await ask(
      queue,
      ['pqr', 'abc', 'mno', 'def'].map((claim_id) => ({
        claim_id,
        batch: 'event',
        batch_rank: byName.indexOf(claim_id),
      })),
    );
    expect(await lineOf(queue)).toEqual(byName);
    expect(await drain(queue)).toEqual(['going', ...byName]);
  });

  it('P43: two events of two: the second is not begun before the first is through; one place more is for the oldest', async () => {
    const queue = anId('q');
    const event = (batch: string) => [
      { claim_id: `${batch}2`, batch, batch_rank: 2 },
      { claim_id: `${batch}1`, batch, batch_rank: 1 },
    ];
    await client.hold(queue, { claim_id: 'going' });
    await ask(queue, event('a'));
    await ask(queue, event('b'));
    await release(queue, 'going');
    expect(await lineOf(queue)).toEqual(['a2', 'b1', 'b2']);
    await release(queue, 'a1');
    await client.put(queue, { concurrency_limit: 2 });
    expect((await client.queue(queue)).body.holders.map(({ claim_id }) => claim_id).sort()).toEqual(['a2', 'b1']);
    expect(await lineOf(queue)).toEqual(['b2']);
  });

  it('P44: asked for again, in another order, they are no more and stand where they stood', async () => {
    const queue = anId('q');
    await client.put(queue, { concurrency_limit: 2 });
    const event = ['a', 'b', 'c', 'd'].map((claim_id, batch_rank) => ({ claim_id, batch: 'event', batch_rank }));
    expect(await ask(queue, event)).toEqual(['held', 'held', 'waiting', 'waiting']);
    expect(await ask(queue, event.toReversed())).toEqual(['waiting', 'waiting', 'held', 'held']);
    expect((await client.queue(queue)).body).toMatchObject({ held: 2, waiting: 2 });
    expect(await lineOf(queue)).toEqual(['c', 'd']);
  });

  it('P86: given back to be tried again, one is at its old place among them', async () => {
    const queue = anId('q');
    await ask(
      queue,
      ['a', 'b', 'c'].map((claim_id) => ({ claim_id, batch: 'event' })),
    );
    await client.put(queue, { paused: true });
    await client.release(held(await client.get(queue, 'a')), { outcome: 'retry', retry_after_ms: 0 });
    expect(await lineOf(queue)).toEqual(['a', 'b', 'c']);
  });

  it('P46: keep their order when every replica is gone and a new one there; one that comes then is still one of them', async () => {
    await using own = await freshDatabase();
    {
      await using before = await startTestApp(own);
      await before.client.hold('q', { claim_id: 'going', ttl_ms: 300_000 });
      const event = (claim_id: string, batch_rank: number) => ({ claim_id, batch: 'event', batch_rank });
      await ask('q', [event('third', 3), { claim_id: 'other' }, event('first', 1)], before.client);
    }
    await using after = await startTestApp(own);
    await ask('q', [{ claim_id: 'second', batch: 'event', batch_rank: 2 }], after.client);
    expect(await lineOf('q', after.client)).toEqual(['first', 'second', 'third', 'other']);
    expect(await drain('q', after.client)).toEqual(['going', 'first', 'second', 'third', 'other']);
  });
});
