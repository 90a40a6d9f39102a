import type { LeaseWindow } from '../client/lease-window.ts';
import type { WaitingClaim } from '../protocol/claims.ts';
import { told } from './annotations.ts';
import { attemptOf } from './claim-name.ts';
import { type Demand, type DemandRules, readDemand } from './demand.ts';
import { type Life, lifeOf, type PipelineRun } from './pipeline-run.ts';

/** Where a run stands with the service, as far as this gate knows. */
export type Place =
  /** Its claim is to be asked for, or asked about. */
  | { readonly kind: 'none' }
  | {
      readonly kind: 'waiting';
      readonly position: number;
      readonly waitingFor: WaitingClaim['waiting_for'];
      readonly priority: number;
    }
  | { readonly kind: 'held'; readonly token: number; readonly window: LeaseWindow; readonly renewAtMs: number }
  /** The annotations or the service do not let it into the line. Asked again now and then. */
  | { readonly kind: 'refused'; readonly problem: string }
  /** An operator, or the queue's `max_hold_ms`, took the place away: not asked for again. `isTold`: the run says so. */
  | { readonly kind: 'ended'; readonly why: string; readonly isTold: boolean }
  /** Given back for good. */
  | { readonly kind: 'settled' };

/** A held place of which nothing is known but its token: the next renewal tells. */
export function believed(token: number): Place {
  return { kind: 'held', token, window: { stopAtMs: 0, killAtMs: 0, endsAtMs: 0 }, renewAtMs: 0 };
}

/**
 * One run as one gate sees it. It is a memory of what was asked and answered last; all of it can be had again from the run's
 * annotations and from the service, so a gate may die at any moment.
 */
export class TrackedRun {
  run: PipelineRun;
  demand: Demand | undefined;
  /** What is wrong with the annotations. */
  problem: string | undefined;
  /** The queue its claim is in. It stays when the annotation changes, until that claim is withdrawn. */
  queue: string;
  attempt: number;
  place: Place = { kind: 'none' };
  isGone = false;
  /** Nothing is decided before the run was read again: a write had no clear answer, or its claim ended unexpectedly. */
  mustReread = false;
  /** Why its lease was lost while it went. */
  lostReason: string | undefined;
  /** The release of this going run was asked for through the service. */
  isAskedBack = false;
  /** Starts that the API server refused, and what it said. */
  startRefusals = 0;
  startProblem: string | undefined;
  /** The last start was refused: its place is to be given back. */
  isStartRefused = false;
  /** The mark that fences the release of a pending run's place was refused too. */
  isMarkRefused = false;
  askAtMs = 0;
  /** Steps wait until then, after failures. */
  stepAtMs = 0;
  stepFailures = 0;
  /** When its place in line was last written. */
  toldAtMs = -Infinity;
  /** A step or an ask is under way; there is one at a time. */
  isBusy = false;
  isRenewing = false;

  constructor(run: PipelineRun, rules: DemandRules) {
    this.run = run;
    this.queue = '';
    this.attempt = 1;
    this.#readDemand(rules);
    this.attempt = attemptOf(run);
    this.queue = run.annotations[told.claimedQueue] ?? this.demand?.queue ?? '';
    this.place = firstPlace(run);
  }

  get life(): Life {
    return this.isGone ? 'finished' : lifeOf(this.run);
  }

  /** Takes over a newer view; an older one, from a watch that lags behind an answer, is passed over. */
  see(run: PipelineRun, rules: DemandRules): void {
    if (isOlder(run.resourceVersion, this.run.resourceVersion)) return;
    this.run = run;
    const before = JSON.stringify(this.demand);
    this.#readDemand(rules);
    if (this.place.kind === 'refused' && JSON.stringify(this.demand) !== before) this.askAtMs = 0;
    this.#followOtherGate();
    // Nothing was asked for in the old queue: the new one it is.
    if (this.place.kind === 'none' || this.place.kind === 'refused') {
      const queue = this.life === 'going' ? run.annotations[told.claimedQueue] : undefined;
      const wanted = queue ?? this.demand?.queue;
      if (wanted !== undefined && wanted !== this.queue) [this.queue, this.askAtMs] = [wanted, 0];
    }
    if (this.place.kind === 'ended' && this.#isAskedAgain()) {
      this.attempt += 1;
      [this.place, this.askAtMs] = [{ kind: 'none' }, 0];
      if (this.life === 'pending' && this.demand !== undefined) this.queue = this.demand.queue;
    }
  }

  /** A later wish is written on the run than the one known here: another gate has gone on, and this one goes with it. */
  #followOtherGate(): void {
    const attempt = attemptOf(this.run);
    if (attempt <= this.attempt || this.place.kind === 'held' || this.place.kind === 'settled') return;
    this.attempt = attempt;
    [this.place, this.askAtMs] = [firstPlace(this.run), 0];
  }

  /** Whoever removes the decision, or names another queue, asks for another try. */
  #isAskedAgain(): boolean {
    const isRemoved =
      this.place.kind === 'ended' && this.place.isTold && this.run.annotations[told.decision] === undefined;
    return isRemoved || (this.life === 'pending' && this.demand !== undefined && this.demand.queue !== this.queue);
  }

  #readDemand(rules: DemandRules): void {
    const reading = readDemand(this.run, rules);
    this.demand = reading.kind === 'demand' ? reading.demand : undefined;
    this.problem = reading.kind === 'unusable' ? reading.problem : undefined;
  }
}

/** What the annotations say that an earlier gate had got to. */
function firstPlace(run: PipelineRun): Place {
  const token = Number(run.annotations[told.fencingToken] ?? NaN);
  const life = lifeOf(run);
  if (run.annotations[told.decision] === 'claim_ended')
    return { kind: 'ended', why: run.annotations[told.lastError] ?? 'ended', isTold: true };
  if (life !== 'pending' && Number.isSafeInteger(token) && token > 0) return believed(token);
  // It may be in line still.
  if (life === 'finished') return { kind: 'waiting', position: 0, waitingFor: 'behind_others', priority: 0 };
  return { kind: 'none' };
}

/** Versions of one kind of object are numbers that grow; whatever is not a number is taken as newer. */
function isOlder(version: string, than: string): boolean {
  return /^\d+$/.test(version) && /^\d+$/.test(than) && BigInt(version) < BigInt(than);
}
