import type {
  MergeGrantView,
  MergeRequestView,
  MergeStatus,
  MergeWaitReason,
  MergeWaitView,
} from '../../protocol/merge-queue.ts';
import type { FencingToken } from '../../protocol/ids.ts';
import type { Answer } from './calls.ts';
import { stackedPullRequests } from './pull-requests.ts';
import type { Change } from './settle.ts';
import { type Grant, type MergeQueueState, type PendingRequest, inOrder, modeOf } from './state.ts';

interface Named {
  readonly headSha: string;
  readonly headRef: string;
  readonly priority: number;
}

export function requestView({ headSha, headRef, priority }: Named, status: MergeStatus): MergeRequestView {
  return { headSha, headRef, priority, status };
}

/** How a grant is shown: the original calls a success `completed`. */
export function statusOf({ outcome }: Grant): MergeStatus {
  if (outcome === null) return 'acquired';
  return outcome === 'success' ? 'completed' : outcome;
}

/** Whether the wait for others is over: nothing has changed for the whole window, or all that are expected are there. */
export function isStable({ state, settings, nowMs }: Pick<Change, 'state' | 'settings' | 'nowMs'>): boolean {
  return (
    nowMs - state.windowStartedAtMs >= settings.stabilisation_ms || state.pending.length >= settings.expected_count
  );
}

export function isHighest({ pending }: MergeQueueState, request: PendingRequest): boolean {
  return pending.every(({ priority }) => priority <= request.priority);
}

export function isQuarantined({ quarantinedUntilMs, nowMs }: Change): boolean {
  return quarantinedUntilMs !== undefined && nowMs < quarantinedUntilMs;
}

function waitReason(change: Change, request: PendingRequest): MergeWaitReason {
  const mode = modeOf(change.state);
  if (mode === 'held' || mode === 'draining') return mode;
  if (mode === 'open' && !isStable(change)) return 'stabilisation';
  if (!isHighest(change.state, request)) return 'higher_priority';
  if (isQuarantined(change)) return 'quarantine';
  return request.delaysCounted < change.settings.delay_count ? 'delay' : 'next_call';
}

export function waitView(change: Change, request: PendingRequest): MergeWaitView {
  const { state, settings, nowMs } = change;
  const line = inOrder(state.pending);
  const waitingFor = waitReason(change, request);
  const ahead = line[0];
  const { grant } = state;
  const blockedBy =
    waitingFor === 'held' || waitingFor === 'draining'
      ? grant && { ...requestView(grant, statusOf(grant)), heldForMs: nowMs - grant.acquiredAtMs }
      : waitingFor === 'higher_priority' && ahead !== undefined
        ? { ...requestView(ahead, 'pending'), heldForMs: null }
        : null;
  return {
    position: line.findIndex(({ headSha }) => headSha === request.headSha) + 1,
    waitingFor,
    blockedBy,
    windowRemainingMs:
      waitingFor === 'stabilisation' ? state.windowStartedAtMs + settings.stabilisation_ms - nowMs : null,
    registered: state.pending.length,
    delaysLeft: Math.max(0, settings.delay_count - request.delaysCounted),
  };
}

function grantView(grant: Grant, nowMs: number): MergeGrantView {
  const ttlRemainingMs = Math.max(0, grant.expiresAtMs - nowMs);
  return {
    fencingToken: grant.fencingToken as FencingToken,
    acquiredAtMs: grant.acquiredAtMs,
    expiresAtMs: grant.expiresAtMs,
    ttlRemainingMs,
    renewAfterMs: Math.floor(ttlRemainingMs / 3),
  };
}

export function pendingAnswer(change: Change, request: PendingRequest, options = { usedDelay: false }): Answer {
  return {
    kind: 'request',
    request: requestView(request, 'pending'),
    stackedPullRequests: null,
    grant: null,
    wait: waitView(change, request),
    ...options,
  };
}

export function acquiredAnswer({ state, nowMs }: Change, grant: Grant): Answer {
  return {
    kind: 'request',
    request: requestView(grant, 'acquired'),
    stackedPullRequests: stackedPullRequests(grant, state.pending),
    grant: grantView(grant, nowMs),
    wait: null,
    usedDelay: false,
  };
}

/** For a build that has neither lease nor place any longer. */
export function overAnswer(request: Named, status: MergeStatus): Answer {
  return {
    kind: 'request',
    request: requestView(request, status),
    stackedPullRequests: null,
    grant: null,
    wait: null,
    usedDelay: false,
  };
}
