import { told } from './annotations.ts';
import { topPriority } from './demand.ts';
import { missingNotes, type Notes } from './notes.ts';
import { outcomeOf } from './pipeline-run.ts';
import type { TrackedRun } from './tracked-run.ts';

export type Step =
  | { readonly kind: 'nothing' }
  /** The run as it is stored decides; what is known of it may be wrong. */
  | { readonly kind: 'reread' }
  /** Clear the pending bit, with this token. */
  | { readonly kind: 'start'; readonly token: number }
  /** Write on a pending run that it must not be started with this token: its place is about to be given back. */
  | { readonly kind: 'mark'; readonly token: number }
  /** Give the place back: for good, or into the line at its old place. */
  | {
      readonly kind: 'release';
      readonly token: number;
      readonly outcome: 'success' | 'failure' | 'cancelled' | 'retry';
    }
  /** Leave the line. */
  | { readonly kind: 'withdraw' }
  /** Ask Tekton to cancel a going run that has lost its place. */
  | { readonly kind: 'cancel_run' }
  | { readonly kind: 'tell'; readonly notes: Notes }
  /** Nothing more will come of this run. */
  | { readonly kind: 'forget' };

export interface StepRules {
  readonly nowMs: number;
  /**
   * Whether a going run of the queue has no place. `asking`: it is not known yet whether it has one, or it is not in line
   * yet. `in_line`: it stands at the head of the line, so that a place given back goes to it.
   */
  readonly unplaced: (queue: string) => 'none' | 'asking' | 'in_line';
  /** Whether the place in line may be written now, if nothing else has changed. */
  readonly mayTellPlace: (tracked: TrackedRun) => boolean;
}

const nothing = { kind: 'nothing' } as const;

/**
 * What is to be done for a run. The rule behind all of it: a place is given back only when the run is provably not going.
 * A finished run is. A pending one is, once it bears a mark (a guarded write, so that no start patch that was sent before,
 * by whatever gate, can still be stored) that its token starts nothing any more. One that goes never gives its place back.
 */
export function nextStep(tracked: TrackedRun, rules: StepRules): Step {
  if (tracked.mustReread && !tracked.isGone) return { kind: 'reread' };
  switch (tracked.life) {
    case 'finished':
      return ofFinished(tracked);
    case 'pending':
      return ofPending(tracked, rules);
    case 'going':
      return ofGoing(tracked, rules);
    default:
      return tracked.life satisfies never;
  }
}

function ofFinished(tracked: TrackedRun): Step {
  const { place, isGone, run } = tracked;
  if (place.kind === 'held')
    return { kind: 'release', token: place.token, outcome: isGone ? 'cancelled' : outcomeOf(run) };
  if (place.kind === 'waiting') return { kind: 'withdraw' };
  if (isGone) return { kind: 'forget' };
  const notes = missingNotes(tracked);
  return notes === undefined ? { kind: 'forget' } : { kind: 'tell', notes };
}

function ofPending(tracked: TrackedRun, rules: StepRules): Step {
  const { place, run, queue, demand } = tracked;
  const isMoved = demand?.queue !== queue;
  if (place.kind === 'waiting' && isMoved) return { kind: 'withdraw' };
  if (place.kind !== 'held') return tell(tracked, rules);
  const { token, window } = place;
  const isVoid = token <= Number(run.annotations[told.voidToken] ?? 0);
  if (isMoved) return isVoid ? { kind: 'release', token, outcome: 'cancelled' } : { kind: 'mark', token };
  if (isVoid || tracked.isMarkRefused) return { kind: 'release', token, outcome: 'retry' };
  if (tracked.isStartRefused) return { kind: 'mark', token };
  const unplaced = rules.unplaced(queue);
  // Whoever goes already comes first: a start now would be one too many.
  if (unplaced === 'in_line') return { kind: 'mark', token };
  if (unplaced === 'asking' || rules.nowMs >= window.stopAtMs) return nothing;
  return { kind: 'start', token };
}

function ofGoing(tracked: TrackedRun, rules: StepRules): Step {
  const { demand, lostReason, isAskedBack, run, place } = tracked;
  const isCancelWanted = demand?.onLeaseLost === 'cancel' && (lostReason !== undefined || isAskedBack);
  if (isCancelWanted && run.asked === undefined) return { kind: 'cancel_run' };
  // Started past the gate while it waited: it leaves its place in the line for one before all that wait.
  if (place.kind === 'waiting' && place.priority < topPriority) return { kind: 'withdraw' };
  return tell(tracked, rules);
}

function tell(tracked: TrackedRun, rules: StepRules): Step {
  const notes = missingNotes(tracked);
  if (notes === undefined) return nothing;
  const isPlaceOnly = Object.keys(notes).every((name) => name === told.position || name === told.waitingFor);
  return isPlaceOnly && !rules.mayTellPlace(tracked) ? nothing : { kind: 'tell', notes };
}
