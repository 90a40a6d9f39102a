import { acquire } from './acquire.ts';
import type { Answer, Call, Moment, Step } from './calls.ts';
import { release } from './release.ts';
import { renew } from './renew.ts';
import { type Change, clearAll, settle, tidy } from './settle.ts';
import type { MergeQueueState } from './state.ts';

/**
 * One call put to a merge queue: the state after it, the answer, and what happened. Pure: nothing is read but the
 * arguments, and nothing else is changed. Calls of one queue must be put one after another; of a state that was not kept
 * nothing may be answered. `moment.nowMs` may not run backwards by more than clocks do: ages are counted from it.
 */
export function step(state: MergeQueueState, call: Call, moment: Moment): Step {
  const { settings, nowMs, nextToken, quarantinedUntilMs } = moment;
  const change: Change = { state, settings, nowMs, quarantinedUntilMs, events: [] };
  const answer = answerTo(change, call, nextToken);
  return { state: change.state, answer, events: change.events };
}

function answerTo(change: Change, call: Call, nextToken: number): Answer {
  switch (call.verb) {
    case 'acquire':
      return acquire(change, call, nextToken);
    case 'release':
      return release(change, call);
    case 'renew':
      return renew(change, call);
    case 'clear':
      clearAll(change);
      return { kind: 'done' };
    case 'tick':
      settle(change, undefined);
      tidy(change);
      return { kind: 'done' };
    default:
      return call satisfies never;
  }
}
