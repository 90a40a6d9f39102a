import type { GrantOutcome, MergeQueueSettings } from '../../protocol/merge-queue.ts';
import { holdTtlFactor } from '../../protocol/merge-queue.ts';

/** All times are ms since 1970 by the database's clock. */

/** A build that is registered and has no lease. */
export interface PendingRequest {
  readonly headSha: string;
  readonly headRef: string;
  readonly priority: number;
  /** What its client calls itself; null if it did not say. */
  readonly requestId: string | null;
  /** How long it may be silent as a holder; null = as the queue says. */
  readonly holdTtlMs: number | null;
  readonly registeredAtMs: number;
  readonly lastSeenAtMs: number;
  /** Its polls that were eligible and were answered pending because of delay_count. */
  readonly delaysCounted: number;
}

/** The lease of the queue: held, or ended and still keeping newcomers out. */
export interface Grant {
  readonly headSha: string;
  readonly headRef: string;
  readonly priority: number;
  readonly requestId: string | null;
  readonly holdTtlMs: number | null;
  readonly fencingToken: number;
  readonly registeredAtMs: number;
  readonly acquiredAtMs: number;
  readonly lastSeenAtMs: number;
  /** When it ends if its holder is not heard. */
  readonly expiresAtMs: number;
  /** null = held. */
  readonly outcome: GrantOutcome | null;
  readonly endedAtMs: number | null;
  /** Listed among the known builds: while it is held, and after a success until its ttl is over. */
  readonly isKnown: boolean;
}

/** A build that a success completed and that is no longer registered: it is told so when it asks, or asks again. */
export interface RememberedRequest {
  /** The attempt that was told; null = it was forgotten, by its ttl, before it asked, and whoever asks is told. */
  readonly requestId: string | null;
  readonly headSha: string;
  readonly headRef: string;
  readonly priority: number;
  readonly completedAtMs: number;
}

export interface MergeQueueState {
  /** When the stabilisation window began to run. */
  readonly windowStartedAtMs: number;
  /** In the order they registered. */
  readonly pending: readonly PendingRequest[];
  readonly grant: Grant | null;
  readonly remembered: readonly RememberedRequest[];
}

/**
 * open: whoever is highest may get the lease. held: somebody has it. draining: its holder succeeded, and those it completed
 * are being told. inheriting: its holder did not succeed, and those registered with it go on in turn. But for open,
 * newcomers are kept out.
 */
export type Mode = 'open' | 'held' | 'draining' | 'inheriting';

export function modeOf({ grant }: MergeQueueState): Mode {
  if (grant === null) return 'open';
  if (grant.outcome === null) return 'held';
  return grant.outcome === 'success' ? 'draining' : 'inheriting';
}

export function emptyState(nowMs: number): MergeQueueState {
  return { windowStartedAtMs: nowMs, pending: [], grant: null, remembered: [] };
}

/** How long this build may be silent as a holder. */
export function holdTtlMsOf(
  { holdTtlMs }: Pick<Grant, 'holdTtlMs'>,
  { hold_ttl_ms: ofQueueMs, ttl_ms: ttlMs }: MergeQueueSettings,
): number {
  return holdTtlMs ?? ofQueueMs ?? holdTtlFactor * ttlMs;
}

/** The highest priority comes first; among equals the first registered, and among those of one moment the lower sha. */
export function inOrder<Request extends Pick<PendingRequest, 'priority' | 'registeredAtMs' | 'headSha'>>(
  requests: readonly Request[],
): Request[] {
  return requests.toSorted(
    (a, b) => b.priority - a.priority || a.registeredAtMs - b.registeredAtMs || (a.headSha < b.headSha ? -1 : 1),
  );
}

/**
 * Whom a success completes is decided once, by the priorities at that time: a build that was not contained has a lower one
 * as soon as the success is merged.
 */
export function isDecided({ grant }: MergeQueueState, settings: MergeQueueSettings): boolean {
  return grant?.outcome === 'success' && settings.success_completes === 'contained';
}

/**
 * The priority of a holder that states this one. Where a success completes those of lower priority only, it is that of the
 * grant: by another one it would complete builds that are not contained in it, or too few.
 */
export function heldPriority({ priority }: Grant, stated: number, settings: MergeQueueSettings): number {
  return settings.success_completes === 'contained' ? priority : stated;
}

/** Whether the success of this grant completes that build. */
export function isCompletedBy(
  grant: { readonly priority: number },
  request: { readonly priority: number },
  settings: MergeQueueSettings,
): boolean {
  return settings.success_completes === 'all' || request.priority < grant.priority;
}
