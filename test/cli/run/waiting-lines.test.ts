import { expect, it } from 'vitest';
import { waitingLines } from '../../../src/cli/run/waiting-lines.ts';
import type { WaitingClaim } from '../../../src/protocol/claims.ts';

it('says position and reason once per change, not once per look', () => {
  const lines: string[] = [];
  const look = waitingLines('deploy', (line) => lines.push(line));
  const claim = (position: number, waitingFor: WaitingClaim['waiting_for'], holders: readonly string[]) =>
    ({
      position,
      queue_depth: 3,
      waiting_for: waitingFor,
      blocked_by: holders.map((holder) => ({ claim_id: holder, holder, slot: 1, ttl_remaining_ms: 1 })),
    }) as unknown as WaitingClaim;
  look(claim(2, 'behind_others', ['a', 'b']));
  look(claim(2, 'behind_others', ['a', 'b']));
  look(claim(2, 'behind_others', ['a', 'c']));
  look(claim(2, 'paused', []));
  look(claim(1, 'paused', []));
  look(claim(1, 'paused', []));
  look(claim(2, 'paused', []));
  look({ ...claim(1, 'no_free_slot', ['a']), estimated_wait_ms: 90_000 });
  expect(lines).toEqual([
    'waiting for a place in deploy: position 2 of 3, behind others, held by a and 1 more',
    'waiting for a place in deploy: position 2 of 3, the queue is paused',
    'waiting for a place in deploy: position 1 of 3, the queue is paused',
    'waiting for a place in deploy: position 2 of 3, the queue is paused',
    'waiting for a place in deploy: position 1 of 3, no free slot, held by a, about 1m 30s to go',
  ]);
});
