import type { SignalboxClient } from '../client/index.ts';
import { isTransient } from '../client/index.ts';
import { SignalboxError } from '../protocol/errors.ts';
import { backoffMs } from '../runtime/backoff.ts';
import type { Clock } from '../runtime/clock.ts';
import { told } from './annotations.ts';
import { claimIdOf } from './claim-name.ts';
import { type Cluster, ClusterError, type RunPatch } from './cluster.ts';
import type { Step } from './next-step.ts';
import { type PipelineRun } from './pipeline-run.ts';
import type { Renewals } from './renewals.ts';
import type { Roster } from './roster.ts';
import { cancelPatch, markPatch, startPatch, tellPatch } from './run-patches.ts';
import type { Telling } from './telling.ts';
import type { TrackedRun } from './tracked-run.ts';

export interface StepsOptions {
  readonly client: SignalboxClient;
  readonly cluster: Cluster;
  readonly clock: Clock;
  readonly roster: Roster;
  readonly renewals: Renewals;
  readonly telling: Telling;
}

/** How long the first repeat of a failed step waits, and every later one at most. */
const stepBackoff = { firstMs: 200, maxMs: 15_000 } as const;
/** How long a run whose start was refused stands aside, at first and at most. */
const refusedBackoff = { firstMs: 4000, maxMs: 60_000 } as const;

/** Does one step of one run. Whatever is not certain afterwards is left to the next look at the run itself. */
export class Steps {
  readonly #options: StepsOptions;

  constructor(options: StepsOptions) {
    this.#options = options;
  }

  /** Never rejects; the next round decides what follows. */
  async take(tracked: TrackedRun, step: Exclude<Step, { kind: 'nothing' }>, signal: AbortSignal): Promise<void> {
    const { telling } = this.#options;
    tracked.isBusy = true;
    try {
      const isDone = await this.#do(tracked, step, signal);
      if (isDone) tracked.stepFailures = 0;
      else this.#later(tracked);
    } catch (error) {
      if (signal.aborted) return;
      if (isTransient(error)) telling.unreachable(error);
      const run = `${tracked.run.namespace}/${tracked.run.name}`;
      telling.log({ level: 'debug', message: `step ${step.kind} failed`, run, queue: tracked.queue, error });
      this.#later(tracked);
    } finally {
      tracked.isBusy = false;
    }
  }

  #later(tracked: TrackedRun): void {
    const pauseMs = backoffMs(tracked.stepFailures++, stepBackoff);
    tracked.stepAtMs = this.#options.clock.monotonicMs() + pauseMs;
  }

  /** false: to be tried again, after a pause. */
  async #do(tracked: TrackedRun, step: Exclude<Step, { kind: 'nothing' }>, signal: AbortSignal): Promise<boolean> {
    const { telling } = this.#options;
    switch (step.kind) {
      case 'reread':
        return this.#reread(tracked, signal);
      case 'start':
        return this.#start(tracked, step.token, signal);
      case 'mark':
        return this.#mark(tracked, step.token, signal);
      case 'release':
        return this.#release(tracked, step.token, step.outcome, signal);
      case 'withdraw':
        return this.#withdraw(tracked, signal);
      case 'cancel_run':
        return (await this.#patch(tracked, cancelPatch(tracked), signal)) === 'done';
      case 'tell': {
        const problem = step.notes[told.decision] === 'refused' ? step.notes[told.lastError] : undefined;
        const result = await this.#patch(tracked, tellPatch(tracked, step.notes), signal);
        const isTold = result === 'done';
        // The last word on a run that is done: nothing rests on it.
        if (typeof result === 'object' && tracked.life === 'finished') this.#options.roster.forget(tracked);
        if (isTold) tracked.toldAtMs = this.#options.clock.monotonicMs();
        if (isTold && typeof problem === 'string') telling.refused(tracked, problem);
        if (isTold && tracked.place.kind === 'ended' && !tracked.place.isTold) {
          telling.claimEnded(tracked, tracked.place.why);
          tracked.place = { ...tracked.place, isTold: true };
        }
        return isTold;
      }
      case 'forget':
        this.#options.roster.forget(tracked);
        return true;
      default:
        return step satisfies never;
    }
  }

  async #reread(tracked: TrackedRun, signal: AbortSignal): Promise<boolean> {
    const { cluster, roster, telling } = this.#options;
    const { namespace, name, uid } = tracked.run;
    const run = await cluster.getRun(namespace, name, signal);
    tracked.mustReread = false;
    if (run?.uid !== uid) tracked.isGone = true;
    if (run === undefined) return true;
    roster.see(run);
    const { place, life } = tracked;
    const isOwnStart = place.kind === 'held' && run.annotations[told.fencingToken] === `${place.token}`;
    if (isOwnStart && life === 'going') telling.started(tracked, place.token);
    return true;
  }

  /**
   * Clears the pending bit. No answer, or one that does not tell: the run is read back, and its place is kept and renewed
   * meanwhile. A clear refusal: the place goes on, see `nextStep`.
   */
  async #start(tracked: TrackedRun, token: number, signal: AbortSignal): Promise<boolean> {
    const { renewals, telling } = this.#options;
    if (tracked.startRefusals > 0) {
      // Another gate may have given the place back for that refusal: make sure that it is still there.
      await renewals.renew([tracked], signal);
      const { place } = tracked;
      if (place.kind !== 'held' || place.token !== token || tracked.mustReread) return true;
    }
    const result = await this.#patch(tracked, startPatch(tracked, token), signal);
    if (result === 'done') {
      [tracked.startRefusals, tracked.startProblem, tracked.isStartRefused] = [0, undefined, false];
      telling.started(tracked, token);
    } else if (typeof result === 'object') {
      tracked.startRefusals += 1;
      tracked.startProblem = result.problem;
      tracked.isStartRefused = true;
      telling.startFailed(tracked, token, result.problem);
      return true;
    }
    return result === 'done' || result === 'moved_on';
  }

  async #mark(tracked: TrackedRun, token: number, signal: AbortSignal): Promise<boolean> {
    const result = await this.#patch(tracked, markPatch(tracked, token), signal);
    if (typeof result !== 'object') return result !== 'unclear';
    // No write to this run is let through, a start neither: the place goes on without the mark.
    if (tracked.isStartRefused) tracked.isMarkRefused = true;
    return tracked.isStartRefused;
  }

  async #release(
    tracked: TrackedRun,
    token: number,
    outcome: 'success' | 'failure' | 'cancelled' | 'retry',
    signal: AbortSignal,
  ): Promise<boolean> {
    const { client, telling, clock, roster } = this.#options;
    const { run, queue, attempt, life } = tracked;
    const key = { queue, claim_id: claimIdOf(run.uid, attempt), fencing_token: token };
    const backMs = tracked.startRefusals > 0 ? backoffMs(tracked.startRefusals - 1, refusedBackoff) : 0;
    const ending = outcome === 'retry' ? { retryAfterMs: Math.ceil(backMs), uncounted: true as const } : {};
    let isReleased = false;
    try {
      const answer = await client.release(key as Parameters<SignalboxClient['release']>[0], {
        outcome,
        ...ending,
        signal,
        timeoutMs: 5000,
        retry: { attempts: 1 },
      });
      isReleased = answer.released;
    } catch (error) {
      if (!isOver(error)) throw error;
      // It never had this token, or is not known any more: there is nothing to give back.
    }
    [tracked.isStartRefused, tracked.isMarkRefused] = [false, false];
    if (life === 'finished') tracked.place = { kind: 'settled' };
    else tracked.place = { kind: 'none' };
    if (outcome !== 'retry' && life === 'pending') {
      tracked.attempt = Math.max(tracked.attempt, attempt + 1);
      tracked.queue = tracked.demand?.queue ?? queue;
    }
    const nowMs = clock.monotonicMs();
    tracked.askAtMs = nowMs;
    if (isReleased && outcome !== 'retry') telling.released(tracked, token, outcome);
    // Somebody in the line has a place now: hear who.
    for (const other of roster) if (other.queue === queue && isNearHead(other)) other.askAtMs = nowMs;
    return true;
  }

  async #withdraw(tracked: TrackedRun, signal: AbortSignal): Promise<boolean> {
    const { client } = this.#options;
    const { run, queue, attempt, life } = tracked;
    try {
      const claim = await client.cancel(queue, claimIdOf(run.uid, attempt), {
        signal,
        timeoutMs: 5000,
        retry: { attempts: 1 },
      });
      if (claim.state === 'held') {
        // Granted meanwhile, and not known here until now: it is given back as any held place is.
        const window = { stopAtMs: 0, killAtMs: 0, endsAtMs: 0 };
        tracked.place = { kind: 'held', token: claim.fencing_token, window, renewAtMs: 0 };
        return true;
      }
    } catch (error) {
      if (!isOver(error)) throw error;
      // Ended already, or never there.
    }
    tracked.place = life === 'finished' ? { kind: 'settled' } : { kind: 'none' };
    // A claim id is used once: should it come back to this queue, it is with another one.
    tracked.attempt = Math.max(tracked.attempt, attempt + 1);
    tracked.askAtMs = 0;
    if (tracked.demand !== undefined && tracked.life === 'pending') tracked.queue = tracked.demand.queue;
    return true;
  }

  /**
   * `moved_on`: the run is another by now, and has been read again. `unclear`: it may be done, or may be yet. An object: it
   * was refused, and nothing was done.
   */
  async #patch(
    tracked: TrackedRun,
    patch: RunPatch,
    signal: AbortSignal,
  ): Promise<'done' | 'moved_on' | 'unclear' | { readonly problem: string }> {
    const { cluster, roster } = this.#options;
    let after: PipelineRun;
    try {
      after = await cluster.patchRun(tracked.run, patch, signal);
    } catch (error) {
      tracked.mustReread = true;
      if (!(error instanceof ClusterError)) throw error;
      switch (error.failure) {
        case 'conflict':
        case 'not_found':
          return 'moved_on';
        case 'refused':
          return { problem: error.message };
        case 'not_done':
        case 'unknown':
          return 'unclear';
        default:
          return error.failure satisfies never;
      }
    }
    roster.see(after);
    return 'done';
  }
}

/** The service knows of nothing that could be given back. Any other refusal is tried again; the lease ends by itself meanwhile. */
function isOver(error: unknown): boolean {
  return error instanceof SignalboxError && overCodes.includes(error.code);
}

const overCodes: readonly string[] = [
  'claim_ended',
  'lease_lost',
  'token_mismatch',
  'claim_not_found',
  'queue_not_found',
];

function isNearHead({ place, life }: TrackedRun): boolean {
  return place.kind === 'waiting' && (place.position <= 3 || life === 'going');
}
