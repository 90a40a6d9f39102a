import { type Grant, type PendingRequest, inOrder } from './state.ts';

/** gh-readonly-queue/<base>/pr-<number>-<sha>; the number is at most 2^53 - 1 by the check at the door. */
const headRefForm = /^gh-readonly-queue\/[^/]+(?:\/[^/]+)*\/pr-([0-9]+)-[0-9a-fA-F]+$/;

/** The pull request a head ref of GitHub's merge queue was made for; undefined if the ref is none. */
export function pullRequestNumber(headRef: string): number | undefined {
  const digits = headRefForm.exec(headRef)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

/** The pull requests a holder's build contains: those of the known builds of its priority or a lower one, itself included. */
export function stackedPullRequests(holder: Grant, pending: readonly PendingRequest[]): number[] {
  const contained = pending.filter(({ priority }) => priority <= holder.priority);
  return inOrder([holder, ...contained])
    .toReversed()
    .flatMap(({ headRef }) => pullRequestNumber(headRef) ?? []);
}
