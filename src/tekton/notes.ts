import { type Decision, told } from './annotations.ts';
import { claimIdOf } from './claim-name.ts';
import type { PipelineRun } from './pipeline-run.ts';
import type { TrackedRun } from './tracked-run.ts';

/** Annotations to write; null takes one away. */
export type Notes = Readonly<Record<string, string | null>>;

const longestError = 300;

/** What a run's annotations lack of what is known; undefined: they say it already, so nothing is to be written. */
export function missingNotes(tracked: TrackedRun): Notes | undefined {
  const wanted = wantedNotes(tracked);
  if (wanted === undefined) return undefined;
  const missing = Object.entries(wanted).filter(([name, value]) => (tracked.run.annotations[name] ?? null) !== value);
  return missing.length === 0 ? undefined : Object.fromEntries(missing);
}

/** The annotations of a run that is started with this token, by its claim. */
export function startedNotes(tracked: TrackedRun, token: number): Notes {
  return { ...claimNotes(tracked), ...noPlaceInLine, ...decided('started'), [told.fencingToken]: `${token}` };
}

/** Of a pending run whose place is about to be given back. */
export function markNotes(tracked: TrackedRun, token: number): Notes {
  return {
    ...claimNotes(tracked),
    ...noPlaceInLine,
    ...decided('handed_back', tracked.startProblem ?? null),
    [told.voidToken]: `${token}`,
  };
}

const noPlaceInLine: Notes = { [told.position]: null, [told.waitingFor]: null };

function wantedNotes(tracked: TrackedRun): Notes | undefined {
  const { run, place, life } = tracked;
  if (life === 'finished') return isMarkedByGate(run) ? { ...noPlaceInLine, ...decided('released') } : undefined;
  switch (place.kind) {
    case 'refused':
      return { ...noPlaceInLine, ...decided('refused', place.problem) };
    case 'ended':
      return { ...noPlaceInLine, ...claimNotes(tracked), ...decided('claim_ended', place.why) };
    case 'held':
      return life === 'going' ? countedNotes(tracked, place.token) : undefined;
    case 'waiting':
      if (life === 'going') return lostNotes(tracked);
      return {
        ...claimNotes(tracked),
        ...decided('waiting', tracked.startProblem ?? null),
        // 0: delayed after it was handed back, or not known yet.
        [told.position]: place.position > 0 ? `${place.position}` : null,
        [told.waitingFor]: place.waitingFor,
      };
    case 'none':
      if (life === 'going') return lostNotes(tracked);
      return tracked.problem === undefined ? undefined : { ...noPlaceInLine, ...decided('refused', tracked.problem) };
    case 'settled':
      return undefined;
    default:
      return place satisfies never;
  }
}

/** A going run with a place: `started` with this very token, or `recovered`. */
function countedNotes(tracked: TrackedRun, token: number): Notes {
  const { annotations } = tracked.run;
  const isSame = annotations[told.fencingToken] === `${token}`;
  const decision = isSame && annotations[told.decision] === 'started' ? 'started' : 'recovered';
  return { ...claimNotes(tracked), ...noPlaceInLine, ...decided(decision), [told.fencingToken]: `${token}` };
}

/** A going run without one. What it was started with stays readable until it has a new one. */
function lostNotes(tracked: TrackedRun): Notes | undefined {
  if (tracked.lostReason === undefined) return undefined;
  return { ...noPlaceInLine, ...decided('lease_lost', tracked.lostReason) };
}

function claimNotes({ run, attempt, queue }: TrackedRun): Notes {
  return { [told.claim]: claimIdOf(run.uid, attempt), [told.claimedQueue]: queue };
}

function decided(decision: Decision, error: string | null = null): Notes {
  return { [told.decision]: decision, [told.lastError]: error?.slice(0, longestError).toWellFormed() ?? null };
}

/** Whether a gate has written on it: what was never asked for needs no word about its end. */
export function isMarkedByGate({ annotations }: PipelineRun): boolean {
  return annotations[told.claim] !== undefined || annotations[told.fencingToken] !== undefined;
}
