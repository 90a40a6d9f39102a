import type { Answer, ReleaseCall } from './calls.ts';
import { refused } from './refused.ts';
import { type Change, endGrant, evictSilent, open, openIfDone } from './settle.ts';
import { type Grant, heldPriority } from './state.ts';
import { overAnswer, statusOf } from './views.ts';

/**
 * The holder reports its outcome (section 4.2 of the specification). It counts also past the deadline, as long as nobody
 * has noticed that. With the token of a grant that ended as it says, the answer is that of the first time.
 */
export function release(change: Change, call: ReleaseCall): Answer {
  const { settings } = change;
  const { grant } = change.state;
  if (settings.require_token && call.fencingToken === null) return refused('token_required');
  if (grant === null) return refused('nothing_held');
  if (grant.headSha !== call.headSha) return refused('not_the_holder');
  if (call.fencingToken !== null && call.fencingToken !== grant.fencingToken) return refused('token_mismatch');
  if (grant.outcome !== null) return releasedAgain(change, call, grant);
  const { headRef, outcome } = call;
  const priority = heldPriority(grant, call.priority, settings);
  const { nowMs } = change;
  change.state = { ...change.state, windowStartedAtMs: nowMs };
  // First, as in the original: a success does not reach those that were silent for too long before it.
  evictSilent(change, call.headSha);
  endGrant(change, { ...grant, headRef, priority, lastSeenAtMs: nowMs }, outcome);
  // A winner that succeeded stays to be seen until the next call; a failed one that leaves nobody does not.
  if (outcome !== 'success') openIfDone(change);
  return overAnswer({ ...grant, headRef, priority }, outcome === 'success' ? 'completed' : outcome);
}

function releasedAgain(change: Change, call: ReleaseCall, grant: Grant): Answer {
  if (call.fencingToken !== null)
    return grant.outcome === call.outcome
      ? overAnswer(grant, statusOf(grant))
      : refused('ended_otherwise', statusOf(grant));
  if (grant.outcome === 'success' && change.state.pending.length === 0) {
    open(change);
    return refused('not_registered');
  }
  if (!grant.isKnown) return refused('lease_taken');
  if (change.settings.refused_acquire_updates) {
    const { headRef } = call;
    const priority = heldPriority(grant, call.priority, change.settings);
    change.state = { ...change.state, grant: { ...grant, headRef, priority } };
  }
  return refused('status_mismatch', statusOf(grant));
}
