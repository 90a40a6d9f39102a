import { describe, expect, it } from 'vitest';
import { SignalboxClient } from '../../src/client/index.ts';
import { anId } from '../support/http-client.ts';
import { oneReplica } from '../support/one-replica.ts';

let client: SignalboxClient;
const by = { actor: 'me', reason: 'test' };

oneReplica(
  ({ replica }) => {
    client = new SignalboxClient({ url: replica.url });
  },
  { isLed: true },
);

/** A queue that stops at failures, with `a` retried for an hour and `b` behind it. */
async function aBlockedQueue(): Promise<string> {
  const queue = anId('blocked');
  await client.configureQueue(queue, { concurrency_limit: 1, on_failure: 'stop' });
  for (const id of ['a', 'b']) await client.enqueue(queue, { claim_id: id, payload: { of: id } });
  const [run] = await client.take({ holder: 'h', queue });
  if (run === undefined) throw new Error('nothing to take');
  expect(run).toMatchObject({ claim_id: 'a', attempt: 1, payload: { of: 'a' } });
  await client.release(run, { outcome: 'retry', retryAfterMs: 3_600_000, error: 'no luck' });
  expect(await client.take({ holder: 'h', queue })).toEqual([]);
  return queue;
}

describe('what an operator does by the client', () => {
  it('shows what blocks a line; retried it is due now', async () => {
    const queue = await aBlockedQueue();
    const { queues } = await client.listBlocked({ prefix: queue });
    expect(queues).toMatchObject([{ queue, blocked_by: [{ claim_id: 'a', state: 'delayed', error: 'no luck' }] }]);
    expect(await client.retryRun(queue, 'a', by)).toMatchObject({ claim_id: 'a', state: 'waiting', attempts: 1 });
    expect(await client.take({ holder: 'h', queue })).toMatchObject([{ claim_id: 'a', attempt: 2 }]);
    await expect(client.retryRun(queue, 'a', by)).rejects.toMatchObject({ code: 'not_retryable' });
  });

  it('skips what blocks a line: it is a dead letter then, that can be purged', async () => {
    const queue = await aBlockedQueue();
    expect(await client.skipRun(queue, 'a', by)).toMatchObject({ claim_id: 'a', state: 'dead', reason: 'skipped' });
    expect(await client.take({ holder: 'h', queue })).toMatchObject([{ claim_id: 'b' }]);
    await expect(client.skipRun(queue, 'a', by)).rejects.toMatchObject({ code: 'not_blocking' });
    const { dead_letters: letters, next_cursor: cursor } = await client.listDeadLetters({ queue });
    expect(letters).toMatchObject([{ claim_id: 'a', reason: 'skipped', payload: { of: 'a' }, blocks: false }]);
    expect(cursor).toBeNull();
    expect(await client.purgeDeadLetters(queue, { all: true, actor: 'me' })).toMatchObject({ purged: 1 });
    expect((await client.listDeadLetters({ queue })).dead_letters).toEqual([]);
  });

  it('unblocks a line: what blocked it waits on', async () => {
    const queue = await aBlockedQueue();
    expect(await client.unblockQueue(queue, by)).toEqual({ unblocked: 1 });
    expect(await client.take({ holder: 'h', queue, max: 5 })).toMatchObject([{ claim_id: 'b' }]);
    expect(await client.getClaim(queue, 'a')).toMatchObject({ state: 'delayed' });
    expect((await client.listBlocked({ prefix: queue })).queues).toEqual([]);
  });

  it('renews and ends many leases by one call each, and is told of those that are over', async () => {
    const [queue, holder] = [anId('many'), anId('holder')];
    await client.configureQueue(queue, { concurrency_limit: 3 });
    for (const id of ['a', 'b', 'c']) await client.enqueue(queue, { claim_id: id });
    const runs = await client.take({ holder, queue, max: 3 });
    await client.break(queue, 'b', by);
    const renewed = await client.renewHeld(holder, runs, { ttlMs: 60_000 });
    expect(renewed.claims.map(({ claim_id: id }) => id).sort()).toEqual(['a', 'c']);
    expect(renewed.lost).toMatchObject([{ claim_id: 'b', code: 'lease_lost', reason: 'broken' }]);
    expect((await client.renewHeld(holder)).claims).toHaveLength(2);
    const endings = runs.map((run) => ({ ...run, outcome: 'success' }) as const);
    expect(await client.releaseHeld(holder, endings)).toMatchObject([
      { claim_id: 'a', released: true, state: 'released' },
      { claim_id: 'b', released: false, reason: 'broken' },
      { claim_id: 'c', released: true, state: 'released' },
    ]);
  });

  it('sets, reads, lists and deletes patterns, each change at the version it has seen', async () => {
    const pattern = `${anId('pattern')}/*`;
    const made = await client.configureQueuePattern(pattern, { concurrency_limit: 2 });
    expect(await client.getQueuePattern(pattern)).toEqual(made);
    const changed = await client.configureQueuePattern(pattern, { paused: true }, { ifVersion: made.version });
    const late = client.configureQueuePattern(pattern, {}, { ifVersion: made.version });
    await expect(late).rejects.toMatchObject({ code: 'version_mismatch' });
    const { patterns } = await client.listQueuePatterns({ prefix: pattern.slice(0, -1), limit: 10 });
    expect(patterns).toEqual([changed]);
    await client.deleteQueuePattern(pattern, { ifVersion: changed.version });
    await expect(client.getQueuePattern(pattern)).rejects.toMatchObject({ code: 'pattern_not_found' });
  });
});
