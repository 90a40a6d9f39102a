import type { Term } from '../store/decisions.ts';
import type { AttemptName } from './lock-attempts.ts';

export type TermEndReason = 'deposed' | 'trust_ended' | 'service_failed' | 'stopping';

/** What leadership tells to logs and metrics. */
export type LeadershipEvent =
  | { readonly kind: 'term.started'; readonly term: Term }
  /** After its last service has stopped. */
  | { readonly kind: 'term.ended'; readonly term: Term; readonly reason: TermEndReason }
  /** The row is free: others may campaign at once. */
  | { readonly kind: 'term.resigned'; readonly term: Term }
  /** A write of the term was refused (SB001). */
  | { readonly kind: 'term.write_refused'; readonly term: Term; readonly error: unknown }
  | {
      readonly kind: 'term.service_failed';
      readonly term: Term;
      readonly during: 'start' | 'stop';
      readonly error: unknown;
    }
  /** A statement of the election failed. One that only lost a race for the row has `failureKind` 'contended'. */
  | { readonly kind: 'leadership.attempt_failed'; readonly attempt: AttemptName; readonly error: unknown }
  /** A report or the retirement of this replica failed. */
  | { readonly kind: 'replica.report_failed'; readonly error: unknown };

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
