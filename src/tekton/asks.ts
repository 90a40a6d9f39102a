import type { SignalboxClient } from '../client/index.ts';
import type { BatchResult } from '../client/batch.ts';
import type { BatchOperation } from '../client/requests.ts';
import { SignalboxError } from '../protocol/errors.ts';
import { jittered } from '../runtime/backoff.ts';
import type { Clock } from '../runtime/clock.ts';
import { claimIdOf, holderOf } from './claim-name.ts';
import { topPriority } from './demand.ts';
import { dueAsks } from './due-asks.ts';
import type { Telling } from './telling.ts';
import type { TrackedRun } from './tracked-run.ts';

/** Operations of one call: half of what the service takes, so that a call stays short. */
const callMax = 500;
/** Those nearer to the head than this are asked about at the full pace, the others at a quarter of it. */
const nearPositions = 20;
/** An offer lives for up to 10 s; whoever is asked about more seldom could miss one. */
const askWithinMs = 8000;
const refusedPauseMs = 30_000;

export interface AsksOptions {
  readonly client: SignalboxClient;
  readonly clock: Clock;
  readonly pollMs: number;
  readonly telling: Telling;
}

/** Stands in line for the runs: asking is also how a place in line is kept, and how its grant is heard of. */
export class Asks {
  readonly #options: AsksOptions;

  constructor(options: AsksOptions) {
    this.#options = options;
  }

  /** Asks about those that are due; undefined: none is. Resolves when all answers have been taken in. Never rejects. */
  begin(runs: Iterable<TrackedRun>, signal: AbortSignal): Promise<void> | undefined {
    const due = dueAsks(runs, this.#options.clock.monotonicMs());
    if (due.length === 0) return undefined;
    for (const tracked of due) tracked.isBusy = true;
    return this.#askInOrder(due, signal);
  }

  /** One call after the other: the order of the calls is the order in line. */
  async #askInOrder(due: readonly TrackedRun[], signal: AbortSignal): Promise<void> {
    for (let first = 0; first < due.length; first += callMax)
      await this.#ask(due.slice(first, first + callMax), signal);
  }

  async #ask(group: readonly TrackedRun[], signal: AbortSignal): Promise<void> {
    const { client, clock, pollMs, telling } = this.#options;
    const asked = group.map(({ attempt, queue }) => ({ attempt, queue }));
    try {
      const results: readonly BatchResult[] = await client.batch(group.map(acquireOf), {
        signal,
        timeoutMs: 5000,
        retry: { attempts: 1 },
      });
      results.forEach((result, place) => {
        const tracked = group[place];
        // It may have gone on meanwhile, with another gate: then the answer is about a claim of the past.
        const isSame = tracked?.attempt === asked[place]?.attempt && tracked?.queue === asked[place]?.queue;
        if (tracked !== undefined && isSame) this.#take(tracked, result as BatchResult<'acquire'>);
      });
      telling.reached();
    } catch (error) {
      if (!signal.aborted) telling.unreachable(error);
      const againMs = clock.monotonicMs() + jittered(Math.min(pollMs, 1000), 0.3);
      for (const tracked of group) tracked.askAtMs = againMs;
    } finally {
      for (const tracked of group) tracked.isBusy = false;
    }
  }

  #take(tracked: TrackedRun, result: BatchResult<'acquire'>): void {
    const { clock, pollMs, telling } = this.#options;
    const nowMs = clock.monotonicMs();
    if (!result.ok) {
      this.#takeRefusal(tracked, result.error, nowMs);
      return;
    }
    const claim = result.value;
    if (claim.state === 'held') {
      const window = result.window ?? { stopAtMs: 0, killAtMs: 0, endsAtMs: 0 };
      const renewAtMs = Math.min(nowMs + claim.renew_after_ms, window.endsAtMs - (claim.ttl_ms * 2) / 3);
      tracked.place = { kind: 'held', token: claim.fencing_token, window, renewAtMs };
      if (tracked.life === 'going') telling.recovered(tracked, claim.fencing_token);
      tracked.lostReason = undefined;
      tracked.isAskedBack = claim.release_requested;
      return;
    }
    if (tracked.place.kind !== 'waiting') telling.queued(tracked, claim);
    const { position, waiting_for: waitingFor, priority } = claim;
    tracked.place = { kind: 'waiting', position, waitingFor, priority };
    const isNear = claim.position <= nearPositions || tracked.life === 'going';
    const paceMs = Math.min(isNear ? pollMs : pollMs * 4, claim.poll_after_ms * (isNear ? 1 : 4), askWithinMs);
    tracked.askAtMs = nowMs + jittered(paceMs, 0.2);
  }

  #takeRefusal(tracked: TrackedRun, error: Error, nowMs: number): void {
    const { telling } = this.#options;
    const isKnown = error instanceof SignalboxError;
    if (isKnown && error.code === 'claim_ended') {
      const reason = String(error.extra['reason']);
      const state = String(error.extra['state']);
      // Whatever ended it, the run may be another by now: see before asking anew.
      tracked.mustReread = true;
      const why = endedBySomebody(state, reason, tracked.life === 'going');
      if (why === undefined) {
        tracked.attempt += 1;
        [tracked.place, tracked.askAtMs] = [{ kind: 'none' }, 0];
      } else {
        tracked.place = { kind: 'ended', why, isTold: false };
      }
      return;
    }
    if (!isKnown || error.status >= 500) {
      telling.unreachable(error);
      tracked.askAtMs = nowMs + jittered(1000, 0.3);
      return;
    }
    tracked.place = { kind: 'refused', problem: `${error.code}: ${error.message}` };
    tracked.askAtMs = nowMs + jittered(Math.max(refusedPauseMs, error.retryAfterMs ?? 0), 0.2);
  }
}

/** Why a place is not asked for again; undefined: it ended by itself (time, silence, a release), so it is. */
export function endedBySomebody(state: string, reason: string, isGoing: boolean): string | undefined {
  if (reason === 'max_hold' && isGoing) return 'held for longer than the queue allows (max_hold_ms)';
  if (state === 'cancelled' || state === 'broken' || reason === 'cancelled' || reason === 'broken')
    return `the claim was ${state === 'broken' || reason === 'broken' ? 'broken' : 'cancelled'} through the service`;
  return undefined;
}

function acquireOf(tracked: TrackedRun): BatchOperation {
  const { run, queue, attempt, demand, life } = tracked;
  return {
    op: 'acquire',
    queue,
    claim_id: claimIdOf(run.uid, attempt),
    holder: holderOf(run),
    priority: life === 'going' ? topPriority : (demand?.priority ?? 0),
    ttl_ms: demand?.ttlMs,
    labels: { namespace: run.namespace, pipeline_run: run.name.slice(0, 200) },
  };
}
