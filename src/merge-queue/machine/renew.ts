import type { Answer, RenewCall } from './calls.ts';
import { refused } from './refused.ts';
import { type Change, renewedUntilMs } from './settle.ts';
import { acquiredAnswer } from './views.ts';

/** The holder says that it is alive. It counts also past the deadline, as long as nobody has noticed that. */
export function renew(change: Change, { headSha, fencingToken, holdTtlMs }: RenewCall): Answer {
  const { grant } = change.state;
  if (grant?.headSha !== headSha) return refused('lease_lost');
  if (grant.fencingToken !== fencingToken) return refused('token_mismatch');
  if (grant.outcome !== null) return refused('lease_lost');
  const asked = { ...grant, holdTtlMs: holdTtlMs ?? grant.holdTtlMs };
  const heard = { ...asked, lastSeenAtMs: change.nowMs, expiresAtMs: renewedUntilMs(asked, change) };
  change.state = { ...change.state, grant: heard };
  return acquiredAnswer(change, heard);
}
