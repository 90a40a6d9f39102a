import { randomUUID } from 'node:crypto';
import type { Arrival } from '../notifier/waiting-room.ts';
import type { ClaimView } from '../protocol/claims.ts';
import type { CallContext, EnqueueRequest } from '../protocol/coordinator.ts';
import { SignalboxError } from '../protocol/errors.ts';
import type { HolderId, QueueName } from '../protocol/ids.ts';
import type { LeaseEnded, LeaseEnding, QueuedRun, RenewHeldAnswer, RenewHeldBody } from '../protocol/runs.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Database } from '../store/database.ts';
import type { ClaimKey, Decision, RenewOperation } from '../store/decisions.ts';
import { renewHeld } from '../store/takes.ts';
import { claimView, refusal, releaseAnswer, renewedLease, withoutInternals } from './answers.ts';
import type { Batcher } from './batcher.ts';
import { databaseProblem } from './database-problem.ts';
import type { DecisionDesk } from './decision-desk.ts';

export interface RunsOptions {
  readonly db: Database;
  readonly clock: Clock;
  readonly decisions: DecisionDesk;
  readonly glances: Batcher<ClaimKey, Arrival>;
  readonly renewals: Batcher<RenewOperation, Arrival>;
}

/** The verbs of those who enqueue, and of workers on all they hold. */
export class Runs {
  readonly #options: RunsOptions;

  constructor(options: RunsOptions) {
    this.#options = options;
  }

  /** Idempotent by claim id, also when the run has ended, for as long as the queue remembers it. */
  async enqueue(
    queue: QueueName,
    request: EnqueueRequest,
    context: CallContext,
  ): Promise<{ readonly created: boolean; readonly claim: QueuedRun | ClaimView }> {
    const { decisions, glances } = this.#options;
    const key = { queue, claim_id: request.claim_id ?? randomUUID() };
    const { decision } = await decisions.decide({
      op: 'enqueue',
      ...key,
      payload: request.payload?.text,
      priority: request.priority,
      labels: request.labels,
      delay_ms: request.delay_ms,
      max_attempts: request.max_attempts,
      max_age_ms: request.max_age_ms,
      batch: request.batch,
      batch_rank: request.batch_rank,
      fresh: request.claim_id === undefined,
    });
    if (decision.code === 'queued') return { created: true, claim: queuedRun(decision) };
    if (decision.code !== 'known') throw refusal(decision);
    if (decision.body !== null) return { created: false, claim: queuedRun(decision) };
    const claim = claimView(await glances.submit(key), context.receivedAtMs);
    if (claim.kind !== 'run')
      throw new SignalboxError('claim_id_reused', {
        detail: `Claim ${key.claim_id} of queue ${queue} was acquired; it is no run.`,
      });
    return { created: false, claim };
  }

  /** Renews what is listed, or all that the holder has taken of queues whose names begin with `prefix`. */
  async renewHeld(
    holder: HolderId,
    body: RenewHeldBody,
    prefix: string,
    context: CallContext,
  ): Promise<RenewHeldAnswer> {
    const { renewals } = this.#options;
    if (body.claims === undefined) return this.#renewAll(holder, body.ttl_ms, prefix, context);
    const asked = body.claims;
    const arrivals = await Promise.all(
      asked.map((claim) => renewals.submit({ ...claim, holder, ttl_ms: body.ttl_ms, shorten: true })),
    );
    return sortedRenewals(arrivals, context, (index) => asked[index]?.fencing_token);
  }

  async #renewAll(
    holder: HolderId,
    ttlMs: number | undefined,
    prefix: string,
    context: CallContext,
  ): Promise<RenewHeldAnswer> {
    const { db, clock } = this.#options;
    const sentAtMs = clock.monotonicMs();
    try {
      const decisions = await renewHeld(db, holder, ttlMs, prefix);
      // Those that ended meanwhile have no row to name their token; who held them misses them in the answer.
      return sortedRenewals(
        decisions.filter(({ code }) => code === 'renewed').map((decision) => ({ decision, sentAtMs })),
        context,
        () => undefined,
      );
    } catch (error) {
      throw databaseProblem(error);
    }
  }

  /** Ends several leases, each by itself: what cannot be ended says why in its place. */
  async releaseHeld(
    holder: HolderId,
    claims: readonly LeaseEnding[],
  ): Promise<{ readonly results: readonly LeaseEnded[] }> {
    const { decisions } = this.#options;
    const results = await Promise.all(
      claims.map(async ({ queue, claim_id: claimId, ...ending }): Promise<LeaseEnded> => {
        const key = { queue, claim_id: claimId };
        try {
          const { decision } = await decisions.decide({ op: 'release', ...key, ...ending, holder });
          const answer = releaseAnswer(decision);
          return answer.released
            ? { ...key, released: true, state: answer.state ?? 'released', ...dueAt(answer.due_at) }
            : { ...key, released: false, reason: answer.reason ?? '' };
        } catch (error) {
          if (!(error instanceof SignalboxError)) throw error;
          return { ...key, released: false, code: error.code, detail: error.message };
        }
      }),
    );
    return { results };
  }
}

function dueAt(at: string | undefined): { readonly due_at?: string } {
  return at === undefined ? {} : { due_at: at };
}

function queuedRun(decision: Decision): QueuedRun {
  return withoutInternals(decision) as unknown as QueuedRun;
}

function sortedRenewals(
  arrivals: readonly Arrival[],
  { receivedAtMs }: CallContext,
  tokenOf: (index: number) => number | undefined,
): RenewHeldAnswer {
  const claims: RenewHeldAnswer['claims'] = [];
  const lost: RenewHeldAnswer['lost'] = [];
  arrivals.forEach((arrival, index) => {
    const { code, queue, claim_id: claimId, body } = arrival.decision;
    if (code === 'renewed') claims.push(renewedLease(arrival, receivedAtMs));
    else
      lost.push({
        queue: queue as QueueName,
        claim_id: claimId as RenewHeldAnswer['lost'][number]['claim_id'],
        fencing_token: tokenOf(index) as RenewHeldAnswer['lost'][number]['fencing_token'],
        code,
        ...(typeof body?.['reason'] === 'string' ? { reason: body['reason'] } : {}),
      });
  });
  return { claims, lost };
}
