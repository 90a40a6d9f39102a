import { describe, expect, it } from 'vitest';
import { memoryMs } from '../../../src/merge-queue/machine/settle.ts';
import { wordOf } from '../support/machine-under-test.ts';
import { forAllSchedules, type Taken } from '../support/schedules.ts';

function endedEvent({ events }: Taken) {
  return events.find((event) => event.type === 'ended');
}

describe('rules of handing on, in random schedules', () => {
  it('a success is told to every registered loser that still asks, even one that was forgotten meanwhile', () => {
    let told = 0;
    let toldLate = 0;
    let late = 0;
    forAllSchedules(
      ({ taken }) => {
        const toTell = new Map<string, number>();
        const evicted = new Set<string>();
        for (const one of taken) {
          const { call, answer, events, after, nowMs, settings } = one;
          if (call.verb === 'clear') toTell.clear();
          for (const event of events) if (event.type === 'evicted') evicted.add(event.headSha);
          // Who shows the token of a lease that is over hears of that first, and is told when it asks without.
          if (call.verb === 'acquire' && call.fencingToken !== null && toTell.has(call.headSha)) {
            expect(wordOf(answer)).toBe('token_mismatch');
            late++;
          } else if (call.verb === 'acquire') {
            const completedAtMs = toTell.get(call.headSha);
            if (completedAtMs !== undefined && nowMs - completedAtMs <= memoryMs) {
              expect(wordOf(answer)).toBe('completed');
              told++;
              if (evicted.has(call.headSha)) toldLate++;
            }
            toTell.delete(call.headSha);
            evicted.delete(call.headSha);
          }
          const end = endedEvent(one);
          if (end?.outcome === 'success')
            for (const { headSha, priority } of after.pending)
              if (settings.success_completes === 'all' || priority < end.priority) toTell.set(headSha, nowMs);
        }
      },
      { numRuns: 1200 },
    );
    expect(told).toBeGreaterThan(300);
    expect(toldLate).toBeGreaterThan(10);
    expect(late).toBeGreaterThan(10);
  });

  it('completed is told to nobody else, but to the holder that succeeded', () => {
    forAllSchedules(({ taken }) => {
      const completed = new Set<string>();
      for (const one of taken) {
        const { answer, after, settings, call } = one;
        const end = endedEvent(one);
        if (end?.outcome === 'success') {
          completed.add(end.headSha);
          for (const { headSha, priority } of after.pending)
            if (settings.success_completes === 'all' || priority < end.priority) completed.add(headSha);
        }
        if (wordOf(answer) === 'completed' && call.verb === 'acquire') expect(completed).toContain(call.headSha);
        // Whoever registers anew begins anew.
        for (const event of one.events) if (event.type === 'registered') completed.delete(event.headSha);
      }
    });
  });

  it('newcomers stay out from the time a lease is given until success is told to all, or all have not succeeded', () => {
    let opened = 0;
    forAllSchedules(({ taken }) => {
      let isOpen = true;
      for (const { events, answer, call, after, before } of taken) {
        for (const event of events) {
          if (event.type === 'registered') expect(isOpen).toBe(true);
          if (event.type === 'acquired') isOpen = false;
          if (event.type === 'opened') {
            isOpen = true;
            opened++;
          }
        }
        const isKnown = [...before.pending, ...before.remembered].some(
          ({ headSha }) => call.verb === 'acquire' && headSha === call.headSha,
        );
        if (call.verb !== 'acquire' || isKnown) continue;
        if (isOpen && after.grant === null) expect(wordOf(answer)).not.toBe('lease_taken');
        if (!isOpen && before.grant?.headSha !== call.headSha && after.grant?.headSha !== call.headSha)
          expect(wordOf(answer)).toBe(call.fencingToken === null ? 'lease_taken' : 'token_mismatch');
      }
    });
    expect(opened).toBeGreaterThan(500);
  });

  it('the queue opens only when a success has nobody left to tell, a failure nobody left to inherit, or an operator says so', () => {
    forAllSchedules(({ taken }) => {
      let end: ReturnType<typeof endedEvent>;
      for (const one of taken) {
        end = endedEvent(one) ?? end;
        if (one.call.verb === 'clear' || !one.events.some(({ type }) => type === 'opened')) continue;
        const { settings, events, after } = one;
        const isNew = (sha: string) => events.some((event) => event.type === 'registered' && event.headSha === sha);
        const left = [...after.pending, ...(after.grant === null ? [] : [after.grant])].filter(
          ({ headSha }) => !isNew(headSha),
        );
        if (end?.outcome === 'success' && settings.success_completes === 'contained') {
          const { priority } = end;
          // Who asks in this very call may say another priority: the queue is open by then.
          const others = left.filter(({ headSha }) => one.call.verb !== 'acquire' || one.call.headSha !== headSha);
          expect(others.filter((request) => request.priority < priority)).toEqual([]);
        } else expect(left).toEqual([]);
      }
    });
  });

  it('an acquire that shows a token is answered with the grant of that token, or refused: it registers nothing', () => {
    let refused = 0;
    forAllSchedules(({ taken }) => {
      for (const { call, answer, before, after, events } of taken) {
        if (call.verb !== 'acquire' || call.fencingToken === null) continue;
        expect(events.map(({ type }) => type)).not.toContain('registered');
        if (answer.kind === 'request') {
          expect(before.grant).toMatchObject({ headSha: call.headSha, fencingToken: call.fencingToken });
          expect(['acquired', 'completed']).toContain(wordOf(answer));
          continue;
        }
        expect(wordOf(answer)).toBe('token_mismatch');
        expect(after.grant).not.toMatchObject({
          headSha: call.headSha,
          fencingToken: call.fencingToken,
          isKnown: true,
        });
        refused++;
      }
    });
    expect(refused).toBeGreaterThan(200);
  });

  it('contained: whom a success completes is said by the priority of the grant, whatever its holder says later', () => {
    let others = 0;
    forAllSchedules(({ taken }) => {
      let granted: number | undefined;
      for (const { call, events, after, settings } of taken) {
        if (settings.success_completes === 'all') return;
        for (const event of events) if (event.type === 'acquired') granted = event.priority;
        if (after.grant === null) continue;
        expect(after.grant.priority).toBe(granted);
        if ((call.verb === 'acquire' || call.verb === 'release') && call.headSha === after.grant.headSha)
          others += call.priority === granted ? 0 : 1;
      }
    });
    expect(others).toBeGreaterThan(50);
  });

  it('after a failure, a cancellation or an expiry the lease goes to those who were registered then, the highest first', () => {
    let inherited = 0;
    forAllSchedules(({ taken }) => {
      let heirs: Set<string> | undefined;
      for (const one of taken) {
        const { events, after } = one;
        const end = endedEvent(one);
        if (end !== undefined && end.outcome !== 'success')
          heirs = new Set([...after.pending, ...(after.grant === null ? [] : [after.grant])].map((r) => r.headSha));
        if (events.some(({ type }) => type === 'opened')) heirs = undefined;
        const given = events.find((event) => event.type === 'acquired');
        if (given === undefined || heirs === undefined) continue;
        expect(heirs).toContain(given.headSha);
        expect(Math.max(0, ...after.pending.map(({ priority }) => priority))).toBeLessThanOrEqual(given.priority);
        inherited++;
      }
    });
    expect(inherited).toBeGreaterThan(50);
  });

  it('a build is evicted only if it was silent for longer than the ttl, and never a holder or the one that calls', () => {
    let evictions = 0;
    forAllSchedules(({ taken }) => {
      const heardAtMs = new Map<string, number>();
      for (const { call, answer, events, nowMs, settings, before } of taken) {
        for (const event of events) {
          if (event.type !== 'evicted') continue;
          evictions++;
          expect(nowMs - (heardAtMs.get(event.headSha) ?? nowMs)).toBeGreaterThan(settings.ttl_ms);
          expect(before.pending.map(({ headSha }) => headSha)).toContain(event.headSha);
          if (call.verb === 'acquire') expect(event.headSha).not.toBe(call.headSha);
        }
        if (answer.kind === 'request' && call.verb === 'acquire') heardAtMs.set(call.headSha, nowMs);
      }
    });
    expect(evictions).toBeGreaterThan(500);
  });

  it('after an accepted poll of a registered build nobody is left that was silent for longer than the ttl', () => {
    forAllSchedules(({ taken }) => {
      for (const { call, answer, after, nowMs, settings, before } of taken) {
        if (call.verb !== 'acquire' || answer.kind !== 'request') continue;
        // The holder's own poll, and the news to one that was forgotten, are not the original's.
        const isOurs = answer.grant !== null && before.grant?.headSha === call.headSha;
        if (isOurs || wordOf(answer) === 'completed') continue;
        expect(after.pending.filter(({ lastSeenAtMs }) => nowMs - lastSeenAtMs > settings.ttl_ms)).toEqual([]);
      }
    });
  });
});
