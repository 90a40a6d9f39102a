import { describe, expect, it } from 'vitest';
import type { MergeQueueEvent } from '../../../src/merge-queue/machine/events.ts';
import { wordOf } from '../support/machine-under-test.ts';
import { type Played, type Taken, forAllSchedules } from '../support/schedules.ts';

function acquiredEvent({ events }: Taken) {
  return events.find((event) => event.type === 'acquired');
}

function isHeir(wasHeir: boolean, events: readonly MergeQueueEvent[]): boolean {
  let isNow = wasHeir;
  for (const event of events) {
    if (event.type === 'ended') isNow = event.outcome !== 'success';
    if (event.type === 'opened' || event.type === 'acquired') isNow = false;
  }
  return isNow;
}

/**
 * What an onlooker knows who sees the events only: when the window began to run, and whether a lease is being handed down.
 * `look` gets both as they are for the caller: after what time brought about, before what it is given.
 */
function watch(
  { taken, startedAtMs }: Played,
  look: (one: Taken, seen: { readonly windowStartedAtMs: number; readonly isHandedDown: boolean }) => void,
): void {
  let windowStartedAtMs = startedAtMs;
  let isHandedDown = false;
  for (const one of taken) {
    const { call, events, nowMs } = one;
    const beforeGrant = events.slice(0, events.findIndex(({ type }) => type === 'acquired') + 1 || undefined);
    const isNews = beforeGrant.some(({ type }) => type === 'registered' || type === 'updated');
    const isReported = call.verb === 'release' && events.some(({ type }) => type === 'ended');
    if (isNews || isReported || call.verb === 'clear') windowStartedAtMs = nowMs;
    isHandedDown = isHeir(
      isHandedDown,
      events.filter(({ type }) => type !== 'acquired'),
    );
    look(one, { windowStartedAtMs, isHandedDown });
    isHandedDown = isHeir(isHandedDown, events);
  }
}

describe('rules of the lease, in random schedules', () => {
  it('never two holders: a lease is given only when everybody who was told of one has ended it or was silent past its deadline', () => {
    let given = 0;
    forAllSchedules(({ taken }) => {
      let holders: { headSha: string; fencingToken: number; untilMs: number }[] = [];
      for (const { call, answer, nowMs } of taken) {
        if (call.verb === 'clear') holders = [];
        if (answer.kind !== 'request') continue;
        const { headSha } = answer.request;
        if (call.verb === 'release') holders = holders.filter((holder) => holder.headSha !== headSha);
        if (answer.grant === null) continue;
        const { fencingToken, expiresAtMs: untilMs } = answer.grant;
        holders = holders.filter((holder) => holder.fencingToken !== fencingToken);
        expect(holders.filter((holder) => holder.untilMs > nowMs)).toEqual([]);
        holders.push({ headSha, fencingToken, untilMs });
        given++;
      }
    });
    expect(given).toBeGreaterThan(500);
  });

  it('never two holders: between two leases given the first has ended, and is told to have', () => {
    forAllSchedules(({ taken }) => {
      let held: number | null = null;
      for (const event of taken.flatMap(({ events }) => events)) {
        if (event.type === 'acquired') {
          expect(held).toBeNull();
          held = event.fencingToken;
        }
        if (event.type !== 'ended' && event.type !== 'broken') continue;
        expect(event.fencingToken).toBe(held);
        held = null;
      }
    });
  });

  it('a token only grows', () => {
    forAllSchedules(({ taken }) => {
      let newest = 0;
      for (const one of taken) {
        const token = one.after.grant?.fencingToken;
        if (acquiredEvent(one)) {
          expect(token).toBe(one.nextToken);
          expect(token).toBeGreaterThan(newest);
        } else expect([newest, undefined]).toContain(token);
        newest = Math.max(newest, token ?? 0);
      }
    });
  });

  it('the lease is given only to who calls, and only if nobody registered has a higher priority', () => {
    forAllSchedules(({ taken }) => {
      for (const one of taken) {
        const { call, answer, after } = one;
        const event = acquiredEvent(one);
        if (event === undefined) continue;
        expect(call).toMatchObject({ verb: 'acquire', headSha: event.headSha, priority: event.priority });
        expect(wordOf(answer)).toBe('acquired');
        expect(after.grant).toMatchObject({ headSha: event.headSha, outcome: null });
        expect(after.pending.filter(({ priority }) => priority > event.priority)).toEqual([]);
        expect(after.pending.map(({ headSha }) => headSha)).not.toContain(event.headSha);
      }
    });
  });

  it('but for heirs, it is given only when nothing changed for the window or as many are registered as are expected', () => {
    forAllSchedules((played) => {
      watch(played, (one, { windowStartedAtMs, isHandedDown }) => {
        if (acquiredEvent(one) === undefined || isHandedDown) return;
        const { settings, nowMs, after } = one;
        const isWindowOver = nowMs - windowStartedAtMs >= settings.stabilisation_ms;
        expect(isWindowOver || after.pending.length + 1 >= settings.expected_count).toBe(true);
      });
    });
  });

  it('who is highest, with nothing held, window or count met or as an heir, and no delay left, is given the lease', () => {
    let waits = 0;
    forAllSchedules((played) => {
      watch(played, ({ call, answer, after, settings, nowMs }, { windowStartedAtMs, isHandedDown }) => {
        if (call.verb !== 'acquire' || wordOf(answer) !== 'pending') return;
        const own = after.pending.find(({ headSha }) => headSha === call.headSha);
        const isHeld = after.grant !== null && !isHandedDown;
        const isStable =
          nowMs - windowStartedAtMs >= settings.stabilisation_ms || after.pending.length >= settings.expected_count;
        const isHighest = after.pending.every(({ priority }) => priority <= (own?.priority ?? 0));
        const wasDelayed = answer.kind === 'request' && answer.usedDelay;
        expect(!isHeld && (isHandedDown || isStable) && isHighest).toBe(wasDelayed);
        waits++;
      });
    });
    expect(waits).toBeGreaterThan(1000);
  });

  it('each build is delayed in exactly so many of its polls as the delay says before it has the lease', () => {
    let delayed = 0;
    forAllSchedules(({ taken }) => {
      const delays = new Map<string, number>();
      for (const { answer, events, settings } of taken) {
        for (const event of events) if (event.type === 'registered') delays.set(event.headSha, 0);
        if (answer.kind === 'request' && answer.usedDelay) {
          delays.set(answer.request.headSha, (delays.get(answer.request.headSha) ?? 0) + 1);
          delayed++;
        }
        for (const event of events)
          if (event.type === 'acquired') expect(delays.get(event.headSha)).toBe(settings.delay_count);
      }
    });
    expect(delayed).toBeGreaterThan(200);
  });
});
