import type { AcquireCall, Answer } from './calls.ts';
import { refused } from './refused.ts';
import { type Change, evictSilent, forget, renewedUntilMs, settle } from './settle.ts';
import {
  type Grant,
  type MergeQueueState,
  type PendingRequest,
  type RememberedRequest,
  heldPriority,
  holdTtlMsOf,
  isCompletedBy,
  isDecided,
  modeOf,
} from './state.ts';
import { acquiredAnswer, isHighest, isQuarantined, isStable, overAnswer, pendingAnswer, statusOf } from './views.ts';

/** Of builds that wait in one merge queue: far above what GitHub builds at once, and it bounds the work of a call. */
export const registeredMax = 1000;

/**
 * A build registers, or asks again. The lease is given only to a build that asks, and only to one of the highest priority:
 * nobody gets it on somebody else's call (section 4.1 of the specification of mq-lease-service).
 */
export function acquire(change: Change, call: AcquireCall, nextToken: number): Answer {
  settle(change, isUnknownHolder(change.state, call) ? undefined : call.headSha);
  const { state } = change;
  const holder = state.grant;
  if (holder !== null && holder.isKnown && holder.headSha === call.headSha) return askedByHolder(change, call, holder);
  // Of a lease that is over: who shows it must hear of that, and not be given another as if it had held all the time.
  if (call.fencingToken !== null) return refused('token_mismatch');
  const request = state.pending.find(({ headSha }) => headSha === call.headSha);
  if (request === undefined) {
    const missed = state.remembered.find(
      ({ headSha, requestId }) => headSha === call.headSha && (requestId === null || requestId === call.requestId),
    );
    if (missed !== undefined) return completed(change, call, missed.completedAtMs);
    if (holder !== null) return refused('lease_taken');
    // Full of builds that are gone it must not stay until somebody tidies up.
    if (state.pending.length >= registeredMax) evictSilent(change, call.headSha);
    if (change.state.pending.length >= registeredMax) return refused('queue_full');
  }
  return askedByRegistered(change, register(change, call, request), nextToken);
}

/** Tells a build that it need not run, and remembers that for the attempt that asked: its answer may be lost. */
function completed(
  change: Change,
  { headSha, headRef, priority, requestId }: Omit<RememberedRequest, 'completedAtMs'>,
  completedAtMs: number,
): Answer {
  const request = { headSha, headRef, priority, requestId, completedAtMs };
  const others = change.state.remembered.filter((other) => other.headSha !== headSha);
  change.state = { ...change.state, remembered: requestId === null ? others : [...others, request] };
  return overAnswer(request, 'completed');
}

/** The same attempt of a client as the one that was granted: it says so by its request id, or shows the token. */
function isSameAttempt({ requestId, fencingToken }: AcquireCall, grant: Grant): boolean {
  if (fencingToken !== null) return fencingToken === grant.fencingToken;
  return requestId !== null && requestId === grant.requestId;
}

/** It has the name of the holder and does not show that it is the one that was granted: its asking keeps no lease alive. */
function isUnknownHolder({ grant }: MergeQueueState, call: AcquireCall): boolean {
  return grant?.outcome === null && grant.headSha === call.headSha && !isSameAttempt(call, grant);
}

function askedByHolder(change: Change, call: AcquireCall, grant: Grant): Answer {
  const { state, settings, nowMs } = change;
  const { headRef } = call;
  const priority = heldPriority(grant, call.priority, settings);
  if (!isSameAttempt(call, grant)) {
    if (call.fencingToken !== null) return refused('token_mismatch');
    if (settings.refused_acquire_updates) change.state = { ...state, grant: { ...grant, headRef, priority } };
    return refused('status_mismatch', statusOf(grant));
  }
  if (grant.outcome !== null) return overAnswer(grant, statusOf(grant));
  const asked: Grant = { ...grant, headRef, priority, holdTtlMs: call.holdTtlMs ?? grant.holdTtlMs };
  const heard: Grant = { ...asked, lastSeenAtMs: nowMs, expiresAtMs: renewedUntilMs(asked, change) };
  change.state = { ...state, grant: heard };
  return acquiredAnswer(change, heard);
}

/**
 * What an attempt of a client said of itself holds for that attempt only: another one for the same commit could else be
 * given the lease beside it, or lose it by a deadline it has not asked for. The window runs anew for a newcomer and for a
 * changed priority or ref, not for one that only asks again.
 */
function register(change: Change, call: AcquireCall, known: PendingRequest | undefined): PendingRequest {
  const { state, settings, nowMs } = change;
  const { headSha, headRef, requestId } = call;
  const priority = known !== undefined && isDecided(state, settings) ? known.priority : call.priority;
  const isChanged = known?.priority !== priority || known.headRef !== headRef;
  const request: PendingRequest = {
    headSha,
    headRef,
    priority,
    requestId,
    holdTtlMs: call.holdTtlMs ?? (known?.requestId === requestId ? known.holdTtlMs : null),
    registeredAtMs: known?.registeredAtMs ?? nowMs,
    lastSeenAtMs: nowMs,
    delaysCounted: known?.delaysCounted ?? 0,
  };
  change.state = {
    ...state,
    windowStartedAtMs: isChanged ? nowMs : state.windowStartedAtMs,
    pending: known === undefined ? [...state.pending, request] : withRequest(state.pending, known, request),
    remembered: state.remembered.filter((other) => other.headSha !== headSha),
  };
  if (isChanged)
    change.events.push({ type: known === undefined ? 'registered' : 'updated', headSha, headRef, priority });
  return request;
}

function withRequest(
  pending: MergeQueueState['pending'],
  before: PendingRequest,
  after: PendingRequest,
): MergeQueueState['pending'] {
  return pending.map((request) => (request === before ? after : request));
}

function askedByRegistered(change: Change, request: PendingRequest, nextToken: number): Answer {
  evictSilent(change, request.headSha);
  const { state, settings } = change;
  const { grant } = state;
  const mode = modeOf(state);
  if (mode === 'draining' && grant !== null && isCompletedBy(grant, request, settings)) {
    forget(change, request, 'completed');
    return completed(change, request, grant.endedAtMs ?? change.nowMs);
  }
  if (mode === 'held' || mode === 'draining') return pendingAnswer(change, request);
  if (mode === 'open' && !isStable(change)) return pendingAnswer(change, request);
  if (!isHighest(state, request) || isQuarantined(change)) return pendingAnswer(change, request);
  if (request.delaysCounted < settings.delay_count) {
    const counted = { ...request, delaysCounted: request.delaysCounted + 1 };
    change.state = { ...state, pending: withRequest(state.pending, request, counted) };
    return pendingAnswer(change, counted, { usedDelay: true });
  }
  return give(change, request, nextToken);
}

function give(change: Change, request: PendingRequest, fencingToken: number): Answer {
  const { state, settings, nowMs } = change;
  const { headSha, headRef, priority, requestId, holdTtlMs, registeredAtMs, lastSeenAtMs } = request;
  const grant: Grant = {
    headSha,
    headRef,
    priority,
    requestId,
    holdTtlMs,
    registeredAtMs,
    lastSeenAtMs,
    fencingToken,
    acquiredAtMs: nowMs,
    expiresAtMs: nowMs + holdTtlMsOf(request, settings),
    outcome: null,
    endedAtMs: null,
    isKnown: true,
  };
  change.state = { ...state, grant, pending: state.pending.filter((other) => other !== request) };
  change.events.push({ type: 'acquired', headSha, headRef, priority, fencingToken, waitedMs: nowMs - registeredAtMs });
  return acquiredAnswer(change, grant);
}
