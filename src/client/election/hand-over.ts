import type { HeldClaim, WaitingClaim } from '../../protocol/claims.ts';
import { SignalboxError } from '../../protocol/errors.ts';
import { jittered } from '../../runtime/backoff.ts';
import { isAborted, Pause } from '../../runtime/pause.ts';
import type { SignalboxClient } from '../client.ts';

/** How often a leader looks whether it is asked to hand over (ms): a renewal would tell it only after a third of its ttl. */
export const lookEveryMsDefault = 500;

/** One look may take so long: the next one is not kept waiting by a connection that hangs. */
const lookTimeoutMs = 2000;

/**
 * The candidate's side of a polite hand-over. To be told of every look at the line: when this claim is the next one, and the
 * leader's priority is lower than its own, the leader's claim is cancelled, once. That only asks: the leader keeps its lease
 * until it releases it. What fails is tried with the next look.
 */
export function handOverRequests(client: SignalboxClient, signal?: AbortSignal): (waiting: WaitingClaim) => void {
  let settled = '';
  let isAsking = false;
  return (waiting) => {
    const leader = waiting.blocked_by.find(({ slot }) => slot === 1);
    if (leader === undefined || waiting.position !== 1 || leader.claim_id === settled || isAsking) return;
    isAsking = true;
    ask(client, waiting, leader.claim_id, signal)
      .then(() => (settled = leader.claim_id))
      .catch(() => undefined)
      .finally(() => (isAsking = false));
  };
}

async function ask(
  client: SignalboxClient,
  { queue, priority }: WaitingClaim,
  leaderClaimId: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const options = { signal, timeoutMs: lookTimeoutMs };
  const claim = await client.getClaim(queue, leaderClaimId, options);
  if (claim.state !== 'held' || claim.release_requested || claim.priority >= priority) return;
  await client.cancel(queue, leaderClaimId, options);
}

export interface HandOverWatch {
  readonly everyMs: number;
  /** Ends it. */
  readonly signal: AbortSignal;
  /** Somebody wants the place: stop and release. */
  readonly onRequested: () => void;
  /** The service says that the lease is over. */
  readonly onOver?: (reason: string) => void;
}

/**
 * The leader's side: looks at its own claim until it is asked to hand over, the claim has ended, or `signal` aborts. Looks
 * that fail are left to those who renew the lease. Never throws.
 */
export async function watchForHandOver(
  client: SignalboxClient,
  lease: HeldClaim,
  { everyMs, signal, onRequested, onOver }: HandOverWatch,
): Promise<void> {
  for (;;) {
    await new Pause().wait(jittered(everyMs), signal);
    if (isAborted(signal)) return;
    try {
      const options = { signal, timeoutMs: lookTimeoutMs, retry: { attempts: 1 } };
      const claim = await client.getClaim(lease.queue, lease.claim_id, options);
      if (isAborted(signal)) return;
      if (claim.state === 'held' && claim.fencing_token === lease.fencing_token) {
        if (!claim.release_requested) continue;
        onRequested();
        return;
      }
      onOver?.('reason' in claim ? claim.reason : 'expired');
      return;
    } catch (error) {
      const isGone =
        error instanceof SignalboxError && (error.code === 'claim_not_found' || error.code === 'queue_not_found');
      if (isGone) onOver?.(error.code);
      if (isGone || isAborted(signal)) return;
    }
  }
}
