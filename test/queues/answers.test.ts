import { describe, expect, it } from 'vitest';
import { heldClaim } from '../../src/queues/answers.ts';

const lease = (ttlRemainingMs: number) => ({
  item: 0,
  code: 'held',
  queue: 'q',
  claim_id: 'c',
  body: { state: 'held', offered: false, ttl_remaining_ms: ttlRemainingMs, renew_after_ms: ttlRemainingMs / 3 },
});

/** What a holder that sent its request at `sentAtMs` believes: its own send time + waited_ms + ttl_remaining_ms. */
function believedDeadlineMs(sentAtMs: number, answer: { waited_ms: number; ttl_remaining_ms: number }): number {
  return sentAtMs + answer.waited_ms + answer.ttl_remaining_ms;
}

describe('the deadline that a holder works out from its answer', () => {
  it.each([
    { name: 'read after the request arrived', sentAtMs: 1500.7, receivedAtMs: 1000.2 },
    { name: 'read in the moment the request arrived', sentAtMs: 1000, receivedAtMs: 1000 },
    { name: 'read before the request arrived, because its commit took long', sentAtMs: 1000.4, receivedAtMs: 3000.1 },
    { name: 'read so long before that nothing is left', sentAtMs: 0, receivedAtMs: 40_000 },
  ])("is never later than the database's when the lease was $name", ({ sentAtMs, receivedAtMs }) => {
    const answer = heldClaim({ decision: lease(30_000), sentAtMs }, receivedAtMs);
    // The statement read the remaining time no earlier than it was sent.
    const expiresAtMs = sentAtMs + 30_000;
    expect(believedDeadlineMs(receivedAtMs, answer)).toBeLessThanOrEqual(Math.max(expiresAtMs, receivedAtMs));
    expect(answer.waited_ms).toBeGreaterThanOrEqual(0);
    expect(answer.renew_after_ms).toBeLessThanOrEqual(answer.ttl_remaining_ms);
  });

  it('counts the time that the replica kept the request', () => {
    expect(heldClaim({ decision: lease(30_000), sentAtMs: 46_000.9 }, 1000)).toMatchObject({
      waited_ms: 45_000,
      ttl_remaining_ms: 30_000,
    });
  });

  it('does not tell that the grant was an offer', () => {
    expect(heldClaim({ decision: lease(1000), sentAtMs: 1 }, 1)).not.toHaveProperty('offered');
  });
});
