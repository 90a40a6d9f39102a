import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { dueAtMs } from '../../../src/merge-queue/machine/settle.ts';
import { type Grant, type MergeQueueState, inOrder, modeOf } from '../../../src/merge-queue/machine/state.ts';
import { step } from '../../../src/merge-queue/machine/step.ts';
import { throughStorage, wordOf } from '../support/machine-under-test.ts';
import { type Taken, anySettings, forAllSchedules, play, propertySeed, schedules } from '../support/schedules.ts';

/** What the events say of a state: who is registered as what, and who holds or held. */
interface Image {
  readonly pending: Map<string, { headRef: string; priority: number }>;
  grant: { headSha: string; fencingToken: number; outcome: string | null } | null;
}

function applyTo(image: Image, { events }: Taken): void {
  for (const event of events)
    switch (event.type) {
      case 'registered':
      case 'updated':
        expect(image.pending.has(event.headSha)).toBe(event.type === 'updated');
        image.pending.set(event.headSha, { headRef: event.headRef, priority: event.priority });
        break;
      case 'acquired':
        expect(image.pending.delete(event.headSha)).toBe(true);
        image.grant = { headSha: event.headSha, fencingToken: event.fencingToken, outcome: null };
        break;
      case 'ended':
        expect(image.grant).toEqual({ headSha: event.headSha, fencingToken: event.fencingToken, outcome: null });
        image.grant = { headSha: event.headSha, fencingToken: event.fencingToken, outcome: event.outcome };
        break;
      case 'completed':
      case 'evicted':
      case 'cleared':
        expect(image.pending.delete(event.headSha)).toBe(true);
        break;
      case 'broken':
        expect(image.grant).toEqual({ headSha: event.headSha, fencingToken: event.fencingToken, outcome: null });
        break;
      case 'opened':
        expect(image.grant).not.toBeNull();
        image.grant = null;
        break;
      default:
        event satisfies never;
    }
}

function imageOf({ pending, grant }: MergeQueueState): Image {
  return {
    pending: new Map(pending.map(({ headSha, headRef, priority }) => [headSha, { headRef, priority }])),
    grant: grant && { headSha: grant.headSha, fencingToken: grant.fencingToken, outcome: grant.outcome },
  };
}

/** A success that has nobody left to tell is over with the next look, whenever that is. */
function isOverWithNextLook({ after, settings }: Taken): boolean {
  const { grant, pending } = after;
  if (grant?.outcome !== 'success') return false;
  return settings.success_completes === 'all'
    ? pending.length === 0
    : pending.every(({ priority }) => priority >= grant.priority);
}

/** Of a holder that states another priority: where only contained builds are completed, that of its grant counts for ever. */
function priorityOf(grant: Grant | null, stated: number, { success_completes: completes }: Taken['settings']): number {
  return grant !== null && completes === 'contained' ? grant.priority : stated;
}

describe('rules of the state, in random schedules', () => {
  it('nothing that was given is changed, and the same call put again to the same state gives the same', () => {
    forAllSchedules(({ taken }) => {
      for (const { before, call, settings, nowMs, nextToken, after, answer, events } of taken) {
        // All of these are deeply frozen: a change would have thrown.
        expect([before, call, settings, after].every((value) => Object.isFrozen(value))).toBe(true);
        expect(step(before, call, { settings, nowMs, nextToken })).toEqual({ state: after, answer, events });
      }
    });
  });

  it('what is stored is read as the same state', () => {
    forAllSchedules(({ taken }) => {
      for (const { after, settings } of taken) expect(throughStorage(after, settings)).toEqual(after);
    });
  });

  it('no commit stands in a state twice', () => {
    forAllSchedules(({ taken }) => {
      for (const { after } of taken) {
        const all = [...after.pending, ...after.remembered, ...(after.grant === null ? [] : [after.grant])];
        expect(new Set(all.map(({ headSha }) => headSha)).size).toBe(all.length);
      }
    });
  });

  it('events tell exactly how a state differs from the one before', () => {
    forAllSchedules(({ taken }) => {
      const image: Image = { pending: new Map(), grant: null };
      for (const one of taken) {
        applyTo(image, one);
        expect(image).toEqual(imageOf(one.after));
      }
    });
  });

  it('a refused release or renewal changes nothing, but what the settings and the original say', () => {
    let refusals = 0;
    forAllSchedules(({ taken }) => {
      for (const { call, answer, before, after, settings, events } of taken) {
        if (answer.kind !== 'refused' || (call.verb !== 'release' && call.verb !== 'renew')) continue;
        refusals++;
        if (answer.refusal === 'not_registered') {
          expect([after, events]).toEqual([{ ...before, grant: null }, [{ type: 'opened' }]]);
          continue;
        }
        expect(events).toEqual([]);
        if (answer.refusal !== 'status_mismatch' || !settings.refused_acquire_updates || after === before)
          expect(after).toBe(before);
        else {
          const { headRef, priority: stated } = call as typeof call & { verb: 'release' };
          const priority = priorityOf(before.grant, stated, settings);
          expect(after).toEqual({ ...before, grant: { ...before.grant, headRef, priority } });
        }
      }
    });
    expect(refusals).toBeGreaterThan(500);
  });

  it('a refused acquire changes nothing, but what time has brought about and what refused_acquire_updates says', () => {
    let refusals = 0;
    forAllSchedules(({ taken }) => {
      for (const { call, answer, before, after, settings, events, nowMs } of taken) {
        if (answer.kind !== 'refused' || call.verb !== 'acquire') continue;
        refusals++;
        expect(['ended', 'evicted', 'opened']).toEqual(expect.arrayContaining(events.map(({ type }) => type)));
        expect(after.windowStartedAtMs).toBe(before.windowStartedAtMs);
        const gone = new Set(events.flatMap((event) => (event.type === 'evicted' ? [event.headSha] : [])));
        expect(after.pending).toEqual(before.pending.filter(({ headSha }) => !gone.has(headSha)));
        if (after.grant === null || after.grant === before.grant) continue;
        if (events.some((event) => event.type === 'ended' && event.outcome === 'expired')) {
          expect(before.grant?.expiresAtMs).toBeLessThanOrEqual(nowMs);
          continue;
        }
        const { headRef, priority, isKnown } = after.grant;
        expect(after.grant).toEqual({ ...before.grant, headRef, priority, isKnown });
        if (headRef === before.grant?.headRef && priority === before.grant.priority) continue;
        expect(settings.refused_acquire_updates).toBe(true);
        expect(call).toMatchObject({ headSha: after.grant.headSha, headRef });
        expect(priority).toBe(priorityOf(before.grant, call.priority, settings));
      }
    });
    expect(refusals).toBeGreaterThan(500);
  });
});

describe('rules of time, in random schedules', () => {
  it('looking before the time that is due changes nothing', () => {
    let looks = 0;
    fc.assert(
      fc.property(schedules, fc.double({ min: 0, max: 1, noNaN: true }), (schedule, part) => {
        for (const one of play(schedule).taken) {
          const { after, settings, nowMs, nextToken } = one;
          const due = dueAtMs(after, settings) ?? Number.MAX_SAFE_INTEGER;
          if (due <= nowMs || isOverWithNextLook(one)) continue;
          for (const atMs of [nowMs, Math.floor(nowMs + part * (due - 1 - nowMs)), due - 1]) {
            const { state, events } = step(after, { verb: 'tick' }, { settings, nowMs: atMs, nextToken });
            expect(events).toEqual([]);
            expect(state).toBe(after);
            looks++;
          }
        }
      }),
      { seed: propertySeed, numRuns: 300 },
    );
    expect(looks).toBeGreaterThan(5000);
  });

  it('a look at the time that is due changes something', () => {
    forAllSchedules(({ taken }) => {
      for (const { after, settings, nowMs, nextToken } of taken) {
        const due = dueAtMs(after, settings);
        if (due === null) continue;
        const { state } = step(after, { verb: 'tick' }, { settings, nowMs: Math.max(due, nowMs), nextToken });
        expect(state).not.toBe(after);
      }
    });
  });

  it('when all clients are silent, looks at the times that are due empty and open the queue, also after its settings changed', () => {
    fc.assert(
      fc.property(schedules, fc.option(anySettings), (schedule, changed) => {
        const { queue } = play(schedule);
        queue.settings = changed ?? queue.settings;
        const { pending, remembered } = queue.state;
        const lastMs = queue.nowMs;
        let looksLeft = pending.length * 2 + remembered.length + 3;
        let openedAtMs = queue.nowMs;
        for (let due = queue.dueAtMs; due !== null; due = queue.dueAtMs) {
          expect(looksLeft--).toBeGreaterThan(0);
          queue.nowMs = Math.max(queue.nowMs, due);
          if (modeOf(queue.state) !== 'open') openedAtMs = queue.nowMs;
          queue.tick();
        }
        expect(queue.state).toMatchObject({ grant: null, pending: [], remembered: [] });
        // The longest deadline a client may have asked for here, and once the ttl for those who could inherit.
        const longestHoldMs = Math.max(100_000, 10 * 200_000);
        expect(openedAtMs - lastMs).toBeLessThanOrEqual(longestHoldMs + queue.settings.ttl_ms + 1);
        expect(['pending', 'acquired']).toContain(queue.acquire('newcomer'));
      }),
      { seed: propertySeed, numRuns: 300 },
    );
  });

  it('a newcomer that keeps asking gets the lease when all others are silent, without the reaper', () => {
    fc.assert(
      fc.property(schedules, (schedule) => {
        const { queue } = play(schedule);
        const answers: string[] = [];
        for (let poll = 0; poll < 400 && answers.at(-1) !== 'acquired'; poll++) {
          queue.pass(15_000);
          answers.push(queue.acquire('newcomer', { priority: 1 }));
        }
        expect(answers.at(-1)).toBe('acquired');
      }),
      { seed: propertySeed, numRuns: 300 },
    );
  });
});

describe('what a pending build is told, in random schedules', () => {
  /** Puts the same poll again, so much later, with nothing between. */
  function askAgain({ call, after, settings, nowMs, nextToken }: Taken, afterMs = 0) {
    const { answer } = step(after, call, { settings, nowMs: nowMs + afterMs, nextToken });
    return { word: wordOf(answer), wait: answer.kind === 'request' ? answer.wait : null };
  }

  it('its reason is what the next poll meets', () => {
    const met = new Map<string, number>();
    forAllSchedules(
      ({ taken }) => {
        for (const one of taken) {
          const wait = one.answer.kind === 'request' ? one.answer.wait : null;
          if (wait === null) continue;
          const { waitingFor, windowRemainingMs, delaysLeft } = wait;
          met.set(waitingFor, (met.get(waitingFor) ?? 0) + 1);
          const again = askAgain(one);
          expect(windowRemainingMs === null).toBe(waitingFor !== 'stabilisation');
          if (waitingFor === 'delay') {
            const next = delaysLeft === 1 ? 'next_call' : 'delay';
            expect(again).toMatchObject({ word: 'pending', wait: { waitingFor: next, delaysLeft: delaysLeft - 1 } });
            continue;
          }
          if (waitingFor === 'next_call') {
            expect([delaysLeft, again.word]).toEqual([0, 'acquired']);
            continue;
          }
          expect(again).toEqual({ word: 'pending', wait });
          if (windowRemainingMs === null) continue;
          expect(windowRemainingMs).toBeGreaterThan(0);
          expect(askAgain(one, windowRemainingMs - 1).wait?.waitingFor).toBe('stabilisation');
          expect(askAgain(one, windowRemainingMs).wait?.waitingFor).not.toBe('stabilisation');
        }
      },
      { numRuns: 600 },
    );
    expect([...met.keys()].toSorted()).toEqual([
      'delay',
      'draining',
      'held',
      'higher_priority',
      'next_call',
      'stabilisation',
    ]);
    expect(Math.min(...met.values())).toBeGreaterThan(20);
  });

  it('who it waits for is the holder, or the first in line before it', () => {
    forAllSchedules(({ taken }) => {
      for (const { answer, after, nowMs } of taken) {
        if (answer.kind !== 'request' || answer.wait === null) continue;
        const { waitingFor, blockedBy, position, registered } = answer.wait;
        const line = inOrder(after.pending);
        expect(line[position - 1]?.headSha).toBe(answer.request.headSha);
        expect(registered).toBe(line.length);
        if (waitingFor === 'held' || waitingFor === 'draining')
          expect(blockedBy).toMatchObject({
            headSha: after.grant?.headSha,
            status: waitingFor === 'held' ? 'acquired' : 'completed',
            heldForMs: nowMs - (after.grant?.acquiredAtMs ?? 0),
          });
        else if (waitingFor === 'higher_priority') {
          expect(blockedBy?.headSha).toBe(line[0]?.headSha);
          expect(blockedBy?.priority).toBeGreaterThan(answer.request.priority);
        } else expect(blockedBy).toBeNull();
      }
    });
  });
});
