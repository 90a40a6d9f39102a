import { describe, expect, it } from 'vitest';
import { SignalboxClient, withLease } from '../../src/client/index.ts';
import type { TestDatabase } from '../support/database.ts';
import { anId, held, type TestClient, waiting } from '../support/http-client.ts';
import { oneReplica } from '../support/one-replica.ts';
import { rowsOf } from '../support/sql-verbs.ts';
import { lineUp, startTestApp, untilWaiting } from '../support/test-app.ts';

/** What the lease backend of the field was tested for, as this service does it; the rows are in concurrency-queue-rows.ts. */
let database: TestDatabase;
let client: TestClient;
oneReplica((parts) => ({ database, client } = parts));

describe('claims', () => {
  it('P01: of two that ask, the older is granted; the younger is told its place and why it waits', async () => {
    const queue = anId('q');
    await client.hold(queue, { claim_id: 'older' });
    expect(waiting(await client.acquire(queue, { claim_id: 'younger' }))).toMatchObject({
      position: 1,
      ahead: 0,
      waiting_for: 'no_free_slot',
      blocked_by: [{ claim_id: 'older', slot: 1 }],
    });
    expect(await client.get(queue, 'older')).toMatchObject({ body: { state: 'held' } });
    expect((await client.queue(queue)).body).toMatchObject({ held: 1, waiting: 1 });
  });

  it('P03: who ends hands its place to the next, who has it in its own name with a newer token', async () => {
    const queue = anId('q');
    const first = await client.hold(queue);
    await lineUp(client, queue, 'next');
    await client.release(first);
    const { holder, fencing_token } = held(await client.get(queue, 'next'));
    expect(holder).toBe('holder of next');
    expect(fencing_token).toBeGreaterThan(first.fencing_token);
  });

  it('P04, P08: queues are told apart by their exact names, however alike', async () => {
    const prefix = anId('p08');
    const queues = [`${prefix}/r`, `${prefix}:r`, `${prefix}-r`, `${prefix}_r`, `${prefix}.r`, `${prefix}/R`];
    for (const queue of queues) await client.hold(queue, { claim_id: 'c' });
    for (const queue of queues) expect((await client.queue(queue)).body).toMatchObject({ queue, held: 1, waiting: 0 });
  });

  it('P12: what one replica has given, another does not give again; given back here, it is to be had there', async () => {
    const queue = anId('q');
    await using other = await startTestApp(database);
    const lease = await client.hold(queue);
    const ask = { holder: 'b', mode: 'skip_if_busy' } as const;
    expect(await other.client.acquire(queue, ask)).toMatchObject({ status: 409, body: { code: 'queue_busy' } });
    await client.release(lease);
    expect(await other.client.acquire(queue, ask)).toMatchObject({ status: 200 });
  });

  it('P16: cancel of a bad name, of one that is gone, of another queue’s, of one’s own', async () => {
    const [queue, other] = [anId('q'), anId('q')];
    await client.hold(queue);
    await lineUp(client, queue, 'own');
    await client.hold(other);
    await lineUp(client, other, 'theirs');
    expect(await client.cancel(queue, 'no spaces')).toMatchObject({ status: 400, body: { code: 'invalid_request' } });
    for (const claim of ['gone', 'theirs'])
      expect(await client.cancel(queue, claim)).toMatchObject({ status: 404, body: { code: 'claim_not_found' } });
    expect(await client.cancel(queue, 'own')).toMatchObject({ status: 200, body: { state: 'cancelled' } });
    expect((await client.queue(queue)).body.line).toEqual([]);
    expect((await client.queue(other)).body.line).toMatchObject([{ claim_id: 'theirs' }]);
  });

  it('P17: a queue that is removed leaves nothing behind, and removing it again changes nothing', async () => {
    const queue = anId('q');
    const path = `/v1/queues/${queue}`;
    await client.release(await client.hold(queue));
    expect(await client.ask('DELETE', path)).toMatchObject({ status: 200 });
    for (const table of ['queues', 'lines', 'leases', 'waiting'])
      expect(await rowsOf(database, `select from signalbox.${table} where queue = $1`, [queue])).toEqual([]);
    expect(await client.ask('DELETE', path)).toMatchObject({ status: 404, body: { code: 'queue_not_found' } });
  });

  it('P18, P50: holders and line are told exactly; what is cancelled or done is in neither', async () => {
    const queue = anId('q');
    await client.put(queue, { concurrency_limit: 2 });
    const done = await client.hold(queue, { claim_id: 'done' });
    await client.hold(queue, { claim_id: 'going' });
    await lineUp(client, queue, 'a', 'b', 'c');
    await client.cancel(queue, 'b');
    await client.release(done);
    const { holders, line } = (await client.queue(queue)).body;
    expect(holders.map(({ claim_id }) => claim_id).sort()).toEqual(['a', 'going']);
    expect(line.map(({ claim_id, position }) => [claim_id, position])).toEqual([['c', 1]]);
  });

  it('P20, P57: work whose caller gave up is never run, and its one wish leaves the line', async () => {
    const queue = anId('q');
    const lease = await client.hold(queue);
    const abort = new AbortController();
    let ran = 0;
    const options = { queue, claimId: 'wish', signal: abort.signal };
    const ended = expect(
      withLease(new SignalboxClient({ url: client.url }), options, () => Promise.resolve(ran++)),
    ).rejects.toThrow('given up');
    await untilWaiting(client, queue, 1);
    abort.abort(new Error('given up'));
    await ended;
    await untilWaiting(client, queue, 0);
    await client.release(lease);
    expect(ran).toBe(0);
    expect(
      await rowsOf(database, 'select state, fencing_token from signalbox.history where claim_id = $1', ['wish']),
    ).toEqual([{ state: 'cancelled', fencing_token: null }]);
  });
});
