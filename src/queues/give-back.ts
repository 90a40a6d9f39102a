import type { Decision } from '../store/decisions.ts';
import type { DecisionDesk } from './decision-desk.ts';

export interface GiveBackOptions {
  readonly decisions: DecisionDesk;
  readonly onError: (error: unknown) => void;
}

/**
 * Gives back what a client that has hung up was given, so that others get it at once. The same request may be made again, and
 * is a new one then. What cannot be given back is told to `onError`, and over when its lease runs out.
 */
export async function giveBack(
  { decisions, onError }: GiveBackOptions,
  given: readonly { readonly decision: Decision }[],
  requestId: string | undefined,
): Promise<void> {
  await Promise.all(
    given.map(({ decision: { queue, claim_id: claimId, body } }) =>
      decisions
        .decide({
          op: 'return',
          queue,
          claim_id: claimId ?? '',
          fencing_token: Number(body?.['fencing_token']),
          request_id: requestId,
        })
        .catch(onError),
    ),
  );
}
