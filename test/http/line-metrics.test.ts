import { describe, expect, it } from 'vitest';
import { oneReplica } from '../support/one-replica.ts';
import type { TestApp } from '../support/test-app.ts';

let replica: TestApp;
oneReplica((parts) => ({ replica } = parts));

async function scrape(): Promise<readonly string[]> {
  const response = await fetch(`${replica.url}/metrics`);
  return (await response.text()).split('\n').filter((line) => /^signalbox_(waiting\{|oldest_head|dirty)/.test(line));
}

describe('the metrics of lines', () => {
  it('count who waits by reason, and tell how long the oldest head has', async () => {
    expect(await scrape()).toEqual(['signalbox_oldest_head_wait_seconds 0', 'signalbox_dirty_slots 0']);
    const { client } = replica;
    await client.hold('busy', { claim_id: 'held' });
    for (const claim of ['a', 'b', 'c']) await client.acquire('busy', { claim_id: claim });
    await client.put('still', { paused: true });
    for (const claim of ['a', 'b']) await client.acquire('still', { claim_id: claim });
    await client.put('work', { concurrency_limit: 5 });
    for (const claim of ['a', 'b', 'c']) await client.enqueue('work', { claim_id: claim });
    const lines = await scrape();
    expect(lines.filter((line) => line.startsWith('signalbox_waiting')).sort()).toEqual([
      'signalbox_waiting{waiting_for="behind_others",kind="claim"} 2',
      'signalbox_waiting{waiting_for="no_free_slot",kind="claim"} 1',
      'signalbox_waiting{waiting_for="paused",kind="claim"} 2',
      'signalbox_waiting{waiting_for="taker",kind="run"} 3',
    ]);
    const [head = ''] = lines.filter((line) => line.startsWith('signalbox_oldest_head'));
    expect(Number(head.split(' ')[1])).toBeGreaterThan(0);
  });

  it('know the lock delay, the clean-up stage and other queues as the answer to each claim does', async () => {
    const { client } = replica;
    await client.put('cleaned', { cleanup: true });
    await client.release(await client.hold('cleaned', { claim_id: 'dirty' }));
    await client.acquire('cleaned', { claim_id: 'a' });
    await client.put('rests', { lock_delay_ms: 60_000 });
    await client.hold('rests', { claim_id: 'gone' });
    await client.ask('POST', '/v1/queues/rests/claims/gone/break', { reason: 'test', actor: 'tester' });
    await client.acquire('rests', { claim_id: 'a' });
    await client.hold('taken', { claim_id: 'held' });
    await client.acquire('free', { claim_id: 'both', also: ['taken'] });
    await client.put('cleaned-too', { cleanup: true, concurrency_limit: 2 });
    for (const claim of ['a', 'b']) await client.release(await client.hold('cleaned-too', { claim_id: claim }));
    const counts = (await scrape()).join('\n');
    expect(counts).toContain('signalbox_dirty_slots 3');
    for (const word of ['cleanup', 'lock_delay', 'other_queue'])
      expect(counts).toContain(`signalbox_waiting{waiting_for="${word}",kind="claim"} 1\n`);
  });
});
