import type { AcquireLeaseOptions } from '../acquire-lease.ts';
import type { SignalboxClient } from '../client.ts';
import { openLease } from '../lease-scope.ts';
import { NotAnElectionError } from './errors.ts';
import { handOverRequests, lookEveryMsDefault } from './hand-over.ts';
import { LedTerm, type Leadership } from './leadership.ts';

/** An election is a queue of limit 1, as a queue made on first use is; its name is the queue's. */
export type ElectionName =
  { readonly election: string; readonly queue?: never } | { readonly queue: string; readonly election?: never };

export type CampaignOptions = ElectionName &
  Omit<AcquireLeaseOptions, 'queue' | 'mode'> & {
    /**
     * Higher goes first (0). A candidate that is the next, and of higher priority than the leader, asks the leader to hand
     * over politely.
     */
    readonly priority?: number | undefined;
    /** false: goes first among those who wait, but asks no leader to hand over. */
    readonly takesOver?: boolean | undefined;
    /** How often a leader looks whether it is asked to hand over (ms, 500). */
    readonly lookEveryMs?: number | undefined;
  };

/**
 * Waits until this process is the leader, and leads until `signal` of what it returns aborts. Throws as `openLease` does,
 * and `NotAnElectionError` for a place beside the first.
 *
 *     await using leader = await campaign(client, { election: 'mailer' });
 *     while (leader.leads) await sendNextMail({ term: leader.term, signal: leader.signal });
 */
export async function campaign(client: SignalboxClient, options: CampaignOptions): Promise<Leadership> {
  return await campaignForTerm(client, options);
}

export async function campaignForTerm(client: SignalboxClient, options: CampaignOptions): Promise<LedTerm> {
  const { election, queue, takesOver = true, lookEveryMs = lookEveryMsDefault, onWaiting, ...lease } = options;
  const ask = takesOver ? handOverRequests(client, lease.signal) : () => undefined;
  const scope = await openLease(client, {
    ...lease,
    queue: election ?? queue,
    onWaiting: (position, reason, claim) => {
      ask(claim);
      onWaiting?.(position, reason, claim);
    },
  });
  if (scope.slot !== 1) {
    await scope.release('cancelled');
    throw new NotAnElectionError(election ?? queue);
  }
  return new LedTerm(client, scope, { lookEveryMs });
}
