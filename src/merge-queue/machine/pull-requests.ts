import { parseHeadRef } from '../../protocol/merge-queue.ts';
import { type Grant, type PendingRequest, inOrder } from './state.ts';

/** The pull requests a holder's build contains: those of the known builds of its priority or a lower one, itself included. */
export function stackedPullRequests(holder: Grant, pending: readonly PendingRequest[]): number[] {
  const contained = pending.filter(({ priority }) => priority <= holder.priority);
  return inOrder([holder, ...contained])
    .toReversed()
    .flatMap(({ headRef }) => parseHeadRef(headRef)?.pullRequest ?? []);
}
