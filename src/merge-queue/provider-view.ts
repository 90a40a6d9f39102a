import type { KnownRequest, MergeQueueId, MergeQueueSettings, ProviderView } from '../protocol/merge-queue.ts';
import { stackedPullRequests } from './machine/pull-requests.ts';
import { type Grant, type MergeQueueState, inOrder } from './machine/state.ts';
import { requestView, statusOf } from './machine/views.ts';

function knownGrant(grant: Grant, { pending }: MergeQueueState): KnownRequest {
  return {
    request: requestView(grant, statusOf(grant)),
    stackedPullRequests: grant.outcome === null ? stackedPullRequests(grant, pending) : null,
  };
}

/** A merge queue as the original shows it: the holder is one of the known, a failed one is not. */
export function providerView(id: MergeQueueId, state: MergeQueueState, settings: MergeQueueSettings): ProviderView {
  const { grant, pending, windowStartedAtMs } = state;
  const acquired = grant === null ? null : knownGrant(grant, state);
  const known = inOrder<Grant | MergeQueueState['pending'][number]>([
    ...pending,
    ...(grant?.isKnown === true ? [grant] : []),
  ]).toReversed();
  return {
    id,
    lastUpdatedAtMs: windowStartedAtMs,
    acquired,
    known: known.map((request) =>
      request === grant && acquired !== null
        ? acquired
        : { request: requestView(request, 'pending'), stackedPullRequests: null },
    ),
    settings,
  };
}
