import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { LeaseKeeper, leaseWindow, SignalboxClient } from '../../src/client/index.ts';
import type { HeldClaim } from '../../src/protocol/claims.ts';
import { testUnstalled } from '../support/unstalled.ts';
import { until } from '../support/until.ts';
import { aHeldClaim, type Answer, problem, ScriptedService } from './scripted-service.ts';

const renewed: Answer = { status: 200, body: aHeldClaim() };

interface Kept extends AsyncDisposable {
  readonly keeper: LeaseKeeper;
  readonly service: ScriptedService;
  readonly events: string[];
  readonly startedAtMs: number;
}

/** A keeper of a lease of 1.2 s: renewed at 0.4 s, late at 0.8 s, over at 1.08 s. */
async function keep(answer: (number: number) => Answer): Promise<Kept> {
  const service = await ScriptedService.start((_asked, number) => answer(number));
  const startedAtMs = performance.now();
  const lease = aHeldClaim() as unknown as HeldClaim;
  const window = leaseWindow(startedAtMs, lease, lease.ttl_ms);
  const keeper = new LeaseKeeper(new SignalboxClient({ url: service.url }), { lease, window });
  const events: string[] = [];
  keeper
    .on('renewed', () => events.push('renewed'))
    .on('release_requested', () => events.push('release_requested'))
    .on('lost', (reason) => events.push(`lost ${reason}`));
  return {
    keeper,
    service,
    events,
    startedAtMs,
    [Symbol.asyncDispose]: async () => {
      await keeper.stop();
      await service[Symbol.asyncDispose]();
    },
  };
}

describe('a lease keeper', () => {
  it('counts the deadline from sending: send time + waited_ms + ttl_remaining_ms, less its margins', () => {
    const window = leaseWindow(1000, { waited_ms: 50, ttl_remaining_ms: 3000 }, 3000);
    expect(window).toEqual({ endsAtMs: 4050, stopAtMs: 3050, killAtMs: 3750 });
    const nonsense = leaseWindow(1000, { waited_ms: 50 } as never, 3000);
    expect(nonsense).toEqual({ endsAtMs: 0, stopAtMs: 0, killAtMs: 0 });
  });

  testUnstalled('renews a third of the ttl after the last good renewal was sent, again and again', async () => {
    await using kept = await keep(() => renewed);
    const times = [kept.startedAtMs];
    kept.keeper.on('renewed', () => times.push(kept.keeper.window.endsAtMs - 1200));
    await until(() => kept.events.length >= 4, { what: 'four renewals' });
    expect(new Set(kept.events)).toEqual(new Set(['renewed']));
    const gaps = times.slice(1).map((atMs, index) => atMs - (times[index] ?? 0));
    // 0.4 s, jittered by a twentieth, between sending and sending.
    for (const gap of gaps) expect(gap).toBeGreaterThan(375);
    expect(kept.keeper.signal.aborted).toBe(false);
    const [first] = kept.service.asked;
    expect(first).toMatchObject({ url: '/v1/queues/q/claims/c/renew', body: { fencing_token: 7 } });
    expect(kept.keeper.window.endsAtMs).toBeGreaterThan(kept.startedAtMs + 1200);
  });

  testUnstalled('does not wait for an attempt that hangs: the next one keeps the lease', async () => {
    await using kept = await keep((number) => (number % 2 === 1 ? 'silence' : renewed));
    await until(() => kept.events.length >= 3, { what: 'three renewals' });
    expect(kept.events).toEqual(['renewed', 'renewed', 'renewed']);
    expect(kept.keeper.signal.aborted).toBe(false);
  });

  testUnstalled(
    'aborts its signal at two thirds of the ttl without a renewal, is lost at 0.9, and renews on all the same',
    async () => {
      let refuses = true;
      await using kept = await keep(() => (refuses ? problem(503, 'database_unavailable') : renewed));
      await once(kept.keeper.signal, 'abort');
      expect(performance.now() - kept.startedAtMs).toBeGreaterThanOrEqual(795);
      expect(kept.keeper.signal.reason).toMatchObject({ name: 'LeaseLostError', reason: 'no_renewal' });
      expect(kept.keeper.lostReason).toBeUndefined();
      await until(() => kept.events.includes('lost no_renewal'), { what: 'it is lost' });
      refuses = false;
      await until(() => kept.events.includes('renewed'), { what: 'it is renewed again' });
      expect(kept.events).toEqual(['lost no_renewal', 'renewed']);
      expect(kept.keeper.window.killAtMs).toBeGreaterThan(performance.now());
    },
  );

  testUnstalled('is lost at once, for good and with the reason when the service says so', async () => {
    await using kept = await keep(() => problem(410, 'lease_lost', { reason: 'broken' }));
    await once(kept.keeper.signal, 'abort');
    expect(kept.keeper.signal.reason).toMatchObject({ reason: 'broken' });
    expect(kept.events).toEqual(['lost broken']);
    // The first answer was enough, and it asks no more.
    await kept.keeper.stop();
    expect(kept.service.asked).toHaveLength(1);
  });

  testUnstalled('tells once that its release is asked for, and renews on', async () => {
    await using kept = await keep(() => ({ status: 200, body: aHeldClaim({ release_requested: true }) }));
    await until(() => kept.events.filter((event) => event === 'renewed').length >= 2, { what: 'two renewals' });
    expect(kept.events).toEqual(['renewed', 'release_requested', 'renewed']);
  });
});
