import { describe, expect, it } from 'vitest';
import { MachineUnderTest } from '../support/machine-under-test.ts';

type Settings = ConstructorParameters<typeof MachineUnderTest>[0];

/** Builds named after their priorities; 3 holds. */
function heldByThree(settings: Settings = {}): MachineUnderTest {
  const queue = new MachineUnderTest({ expected_count: 3, ...settings });
  for (const sha of ['1', '2', '3']) queue.acquire(sha, { priority: Number(sha) });
  expect(queue.state.grant?.headSha).toBe('3');
  return queue;
}

describe('hold_ttl_ms (W1)', () => {
  it('is ten times the ttl where nobody says otherwise', () => {
    const queue = heldByThree();
    expect(queue.ask('3', { fencingToken: 1 })).toMatchObject({ grant: { ttlRemainingMs: 2_000_000 } });
    queue.pass(1_999_999);
    queue.tick();
    expect(queue.state.grant?.outcome).toBeNull();
    queue.pass(1);
    queue.tick();
    expect(queue.events.at(-1)).toEqual({ type: 'opened' });
    expect(queue.events).toContainEqual(expect.objectContaining({ type: 'ended', outcome: 'expired', headSha: '3' }));
  });

  it('is what the queue says', () => {
    const queue = heldByThree({ hold_ttl_ms: 60_000 });
    queue.pass(59_999);
    expect(queue.acquire('2')).toBe('pending');
    queue.pass(1);
    expect(queue.acquire('1')).toBe('pending');
    expect(queue.show().acquired?.request.status).toBe('expired');
    expect(queue.acquire('2')).toBe('acquired');
  });

  it('is what the build said when it registered, before what the queue says', () => {
    const queue = new MachineUnderTest({ expected_count: 2, hold_ttl_ms: 60_000 });
    queue.acquire('2', { priority: 2, holdTtlMs: 5000 });
    queue.acquire('1', { priority: 1 });
    expect(queue.ask('2')).toMatchObject({ grant: { ttlRemainingMs: 5000, renewAfterMs: 1666 } });
    queue.pass(5000);
    expect(queue.acquire('1')).toBe('acquired');
    expect(queue.state.grant?.expiresAtMs).toBe(queue.nowMs + 60_000);
  });

  it('an expired lease is handed down, and newcomers stay out until the heirs are through', () => {
    const queue = heldByThree({ hold_ttl_ms: 60_000 });
    queue.pass(60_000);
    expect([queue.acquire('new'), queue.acquire('3'), queue.acquire('1'), queue.acquire('2')]).toEqual([
      'lease_taken',
      'lease_taken',
      'pending',
      'acquired',
    ]);
  });

  it('the deadline moves with each renewal, and a renewal counts past it while nobody has noticed', () => {
    const queue = heldByThree({ hold_ttl_ms: 60_000 });
    for (const passMs of [40_000, 59_999, 70_000]) {
      queue.pass(passMs);
      expect(queue.renew('3', 1)).toBe('acquired');
      expect(queue.state.grant).toMatchObject({ expiresAtMs: queue.nowMs + 60_000, lastSeenAtMs: queue.nowMs });
    }
    queue.pass(60_000);
    queue.tick();
    expect([queue.renew('3', 1), queue.renew('2', 1)]).toEqual(['lease_lost', 'lease_lost']);
  });

  it('a shorter one asked for later does not bring the deadline forward', () => {
    const queue = heldByThree({ hold_ttl_ms: 60_000 });
    expect(queue.ask('3', { fencingToken: 1, holdTtlMs: 1000 })).toMatchObject({ grant: { ttlRemainingMs: 60_000 } });
  });

  it('a longer one asked for later counts at once and in the renewals after it', () => {
    const queue = heldByThree({ hold_ttl_ms: 60_000 });
    expect(queue.ask('3', { fencingToken: 1, holdTtlMs: 90_000 })).toMatchObject({ grant: { ttlRemainingMs: 90_000 } });
    queue.pass(50_000);
    queue.renew('3', 1);
    expect(queue.state.grant?.expiresAtMs).toBe(queue.nowMs + 90_000);
  });

  it('a renewal may ask for a longer one, which counts in those after it too; a shorter one waits for the deadline', () => {
    const queue = heldByThree({ hold_ttl_ms: 60_000 });
    const renew = (holdTtlMs: number | null) => queue.put({ verb: 'renew', headSha: '3', fencingToken: 1, holdTtlMs });
    expect(renew(90_000)).toMatchObject({ grant: { ttlRemainingMs: 90_000 } });
    queue.pass(50_000);
    expect(renew(null)).toMatchObject({ grant: { ttlRemainingMs: 90_000 } });
    expect(renew(1000)).toMatchObject({ grant: { ttlRemainingMs: 90_000 } });
    queue.pass(89_500);
    expect(renew(null)).toMatchObject({ grant: { ttlRemainingMs: 1000 } });
  });

  it('a longer one of the queue counts for the holder that is there, from when it was last heard', () => {
    const queue = heldByThree({ hold_ttl_ms: 60_000 });
    const grantedAtMs = queue.nowMs;
    queue.pass(50_000);
    queue.settings = { ...queue.settings, hold_ttl_ms: 90_000 };
    expect(queue.acquire('2')).toBe('pending');
    expect(queue.state.grant?.expiresAtMs).toBe(grantedAtMs + 90_000);
    queue.pass(39_999);
    expect([queue.acquire('1'), queue.acquire('2')]).toEqual(['pending', 'pending']);
    queue.pass(1);
    expect(queue.acquire('2')).toBe('acquired');
  });

  it('a longer one of the queue counts also past the deadline while nobody has noticed, and by the reaper too', () => {
    for (const change of [{ hold_ttl_ms: 90_000 }, { hold_ttl_ms: null, ttl_ms: 9000 }]) {
      const queue = heldByThree({ hold_ttl_ms: 60_000 });
      queue.pass(70_000);
      queue.settings = { ...queue.settings, ...change };
      queue.tick();
      expect(queue.state.grant).toMatchObject({ outcome: null, expiresAtMs: queue.nowMs + 20_000 });
      expect(queue.dueAtMs).toBeLessThanOrEqual(queue.nowMs + 20_000);
      queue.pass(20_000);
      queue.tick();
      expect(queue.events).toContainEqual(expect.objectContaining({ type: 'ended', outcome: 'expired', headSha: '3' }));
    }
  });

  it('a longer one of the queue does not count for a holder that asked for its own', () => {
    const queue = new MachineUnderTest({ expected_count: 1, hold_ttl_ms: 60_000 });
    queue.acquire('1', { holdTtlMs: 5000 });
    queue.settings = { ...queue.settings, hold_ttl_ms: 90_000 };
    queue.pass(4999);
    queue.tick();
    expect(queue.state.grant).toMatchObject({ outcome: null, expiresAtMs: queue.nowMs + 1 });
    queue.pass(1);
    queue.tick();
    expect(queue.state.grant).toBeNull();
  });

  it('a shorter one of the queue never moves a deadline back', () => {
    const queue = heldByThree({ hold_ttl_ms: 60_000 });
    const deadlineMs = queue.state.grant?.expiresAtMs;
    queue.settings = { ...queue.settings, hold_ttl_ms: 1000 };
    queue.pass(30_000);
    expect([queue.acquire('2'), queue.renew('3', 1), queue.acquire('3', { fencingToken: 1 })]).toEqual([
      'pending',
      'acquired',
      'acquired',
    ]);
    queue.tick();
    expect(queue.state.grant).toMatchObject({ outcome: null, expiresAtMs: deadlineMs });
  });

  it('a refused poll of the holder does not renew', () => {
    const queue = heldByThree({ hold_ttl_ms: 60_000 });
    queue.pass(59_000);
    expect(queue.acquire('3')).toBe('status_mismatch');
    queue.pass(1000);
    expect(queue.acquire('2')).toBe('acquired');
  });

  it('a release counts past the deadline while nobody has noticed', () => {
    const queue = heldByThree({ hold_ttl_ms: 60_000 });
    queue.pass(150_000);
    expect([queue.release('3', 'success'), queue.acquire('1')]).toEqual(['completed', 'completed']);
  });

  it('a poll of the holder under its token counts past the deadline while nobody has noticed, and is lost after', () => {
    const queue = heldByThree({ hold_ttl_ms: 60_000 });
    queue.pass(150_000);
    expect(queue.ask('3', { fencingToken: 1 })).toMatchObject({ grant: { fencingToken: 1, ttlRemainingMs: 60_000 } });
    queue.pass(60_000);
    queue.tick();
    expect([queue.acquire('3', { fencingToken: 1 }), queue.acquire('3')]).toEqual(['token_mismatch', 'pending']);
  });

  it('a release after it was noticed is refused', () => {
    const queue = heldByThree({ hold_ttl_ms: 60_000 });
    queue.pass(60_000);
    queue.tick();
    expect([queue.release('3', 'success'), queue.release('3', 'success', { fencingToken: 1 })]).toEqual([
      'lease_taken',
      'ended_otherwise',
    ]);
  });
});
