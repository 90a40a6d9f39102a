import type { MergeQueueSettings } from '../../protocol/merge-queue.ts';
import type { MergeQueueEvent } from './events.ts';
import {
  type Grant,
  type MergeQueueState,
  type PendingRequest,
  emptyState,
  holdTtlMsOf,
  isCompletedBy,
  modeOf,
} from './state.ts';

/** How long a build that missed its completion is told of it when it asks again. */
export const memoryMs = 86_400_000;

/** The newest that are remembered: each call reads and writes them all. */
const rememberedMax = 200;

/**
 * Where a silent build is in nobody's way, it goes when it has been silent for so much longer than the ttl, and for a minute
 * at least: the original keeps it until somebody else asks, and one that asks seldom is served by it.
 */
const abandonedTtlFactor = 3;
const abandonedMsMin = 60_000;

/** A state under change, with what happened to it. Every function here puts one idea through. */
export interface Change {
  state: MergeQueueState;
  readonly settings: MergeQueueSettings;
  readonly nowMs: number;
  readonly quarantinedUntilMs?: number | undefined;
  readonly events: MergeQueueEvent[];
}

export function open(change: Change): void {
  change.state = { ...change.state, grant: null };
  change.events.push({ type: 'opened' });
}

/** Ends the grant. A success keeps its place until those it completed are told; anything else is handed down. */
export function endGrant(change: Change, grant: Grant, outcome: NonNullable<Grant['outcome']>): void {
  const { state, nowMs } = change;
  const isSuccess = outcome === 'success';
  const ended: Grant = { ...grant, outcome, endedAtMs: nowMs, isKnown: isSuccess };
  change.state = { ...state, grant: ended };
  change.events.push({
    type: 'ended',
    outcome,
    headSha: grant.headSha,
    headRef: grant.headRef,
    priority: grant.priority,
    requestId: grant.requestId,
    fencingToken: grant.fencingToken,
    registeredAtMs: grant.registeredAtMs,
    acquiredAtMs: grant.acquiredAtMs,
    expiresAtMs: grant.expiresAtMs,
    mergedBatchSize: isSuccess ? 1 + state.pending.filter(({ priority }) => priority < grant.priority).length : null,
  });
}

/** Whether it has not asked for longer than the ttl; exactly the ttl is not longer. */
function isSilent({ lastSeenAtMs }: { readonly lastSeenAtMs: number }, { settings, nowMs }: Change): boolean {
  return nowMs - lastSeenAtMs > settings.ttl_ms;
}

/** Takes a build out of those that wait. */
export function forget(change: Change, request: PendingRequest, type: 'completed' | 'evicted' | 'cleared'): void {
  const { headSha, headRef, priority, registeredAtMs, requestId } = request;
  change.state = { ...change.state, pending: change.state.pending.filter((other) => other !== request) };
  change.events.push({ type, headSha, headRef, priority, registeredAtMs, requestId });
}

/**
 * Forgets the builds that were silent for longer than the ttl, but for the one that calls now. A holder is spared; one that
 * succeeded is no longer listed then. Those that a success has completed are remembered.
 */
export function evictSilent(change: Change, callerSha: string | undefined): void {
  const { settings, nowMs } = change;
  const { grant } = change.state;
  if (grant?.outcome === 'success' && grant.isKnown && grant.headSha !== callerSha && isSilent(grant, change))
    change.state = { ...change.state, grant: { ...grant, isKnown: false } };
  for (const request of change.state.pending) {
    if (request.headSha === callerSha || !isSilent(request, change)) continue;
    forget(change, request, 'evicted');
    if (grant?.outcome === 'success' && isCompletedBy(grant, request, settings)) {
      const { headSha, headRef, priority } = request;
      const missed = { requestId: null, headSha, headRef, priority, completedAtMs: grant.endedAtMs ?? nowMs };
      change.state = { ...change.state, remembered: [...change.state.remembered, missed] };
    }
  }
}

/** Whether it is held, or its success has still somebody to tell, or its failure somebody to hand the lease to. */
function isStillNeeded(grant: Grant, { state, settings }: Change): boolean {
  if (grant.outcome === null) return true;
  if (grant.outcome !== 'success') return state.pending.length > 0;
  return state.pending.some((request) => isCompletedBy(grant, request, settings));
}

/** Lets newcomers in again if all that an ended grant stands for is done. */
export function openIfDone(change: Change): void {
  const { grant } = change.state;
  if (grant !== null && !isStillNeeded(grant, change)) open(change);
}

/**
 * What time alone has brought about by now, so that nothing waits for a client that is gone: a silent holder loses the
 * lease, silent builds no longer hold up those after them (W1, W3 to W5 of the original). `callerSha` calls now, so it is
 * not silent. While the queue is open or held nobody silent is in anybody's way, and goes with the next call that is
 * accepted, as in the original.
 */
export function settle(change: Change, callerSha: string | undefined): void {
  const { nowMs } = change;
  extendDeadline(change);
  const held = change.state.grant;
  if (held !== null && held.outcome === null && held.headSha !== callerSha && nowMs >= held.expiresAtMs)
    endGrant(change, held, 'expired');
  const mode = modeOf(change.state);
  if (mode === 'draining' || mode === 'inheriting') evictSilent(change, callerSha);
  openIfDone(change);
  forgetOld(change);
}

/** Settings are live: a longer hold_ttl_ms counts for the holder that is there, from when it was last heard. */
function extendDeadline(change: Change): void {
  const { grant } = change.state;
  if (grant?.outcome !== null) return;
  const expiresAtMs = grant.lastSeenAtMs + holdTtlMsOf(grant, change.settings);
  if (expiresAtMs > grant.expiresAtMs) change.state = { ...change.state, grant: { ...grant, expiresAtMs } };
}

function forgetOld(change: Change): void {
  const { remembered } = change.state;
  const recent = remembered.filter(({ completedAtMs }) => change.nowMs - completedAtMs <= memoryMs);
  // In storage they have no order of their own.
  const newest = () => recent.toSorted((a, b) => a.completedAtMs - b.completedAtMs).slice(-rememberedMax);
  const kept = recent.length > rememberedMax ? newest() : recent;
  if (kept.length < remembered.length) change.state = { ...change.state, remembered: kept };
}

function abandonedMs({ ttl_ms: ttlMs }: MergeQueueSettings): number {
  return Math.max(abandonedTtlFactor * ttlMs, abandonedMsMin);
}

/** What only the reaper does beside settling: builds that nobody has asked for in a long time go also where they are in nobody's way. */
export function tidy(change: Change): void {
  for (const request of change.state.pending)
    if (change.nowMs - request.lastSeenAtMs > abandonedMs(change.settings)) forget(change, request, 'evicted');
}

/** When the reaper has to look again; null = never, as things stand. */
export function dueAtMs(state: MergeQueueState, settings: MergeQueueSettings): number | null {
  const { grant, pending, remembered } = state;
  const mode = modeOf(state);
  const times = remembered.map(({ completedAtMs }) => completedAtMs + memoryMs + 1);
  if (mode === 'held' && grant !== null) times.push(grant.expiresAtMs);
  const patienceMs = mode === 'draining' || mode === 'inheriting' ? settings.ttl_ms : abandonedMs(settings);
  for (const { lastSeenAtMs } of pending) times.push(lastSeenAtMs + patienceMs + 1);
  if (mode === 'draining' && pending.length === 0) times.push((grant?.endedAtMs ?? 0) + settings.ttl_ms);
  return times.length === 0 ? null : Math.min(...times);
}

export function clearAll(change: Change): void {
  const { grant, pending } = change.state;
  for (const request of pending) forget(change, request, 'cleared');
  if (grant !== null && grant.outcome === null) {
    const { headSha, headRef, priority, requestId, fencingToken, registeredAtMs, acquiredAtMs, expiresAtMs } = grant;
    const about = { headSha, headRef, priority, requestId };
    change.events.push({ type: 'broken', ...about, fencingToken, registeredAtMs, acquiredAtMs, expiresAtMs });
  }
  if (grant !== null) open(change);
  change.state = emptyState(change.nowMs);
}

export function renewedUntilMs(grant: Grant, { settings, nowMs }: Change): number {
  return Math.max(grant.expiresAtMs, nowMs + holdTtlMsOf(grant, settings));
}
