import { randomUUID } from 'node:crypto';
import type { Arrival, WaitingRoom } from '../notifier/waiting-room.ts';
import type {
  AcquireBody,
  BreakBody,
  ClaimView,
  EndedClaim,
  HeldClaim,
  ReleaseAnswer,
  ReleaseBody,
  RenewBody,
  RenewedLease,
  WaitingClaim,
} from '../protocol/claims.ts';
import { alsoNames } from '../protocol/claims.ts';
import type { CallContext } from '../protocol/coordinator.ts';
import { SignalboxError } from '../protocol/errors.ts';
import type { ClaimId, QueueName } from '../protocol/ids.ts';
import type { Clock } from '../runtime/clock.ts';
import type { ClaimKey, RenewOperation } from '../store/decisions.ts';
import { claimView, endedClaim, heldClaim, refusal, releaseAnswer, renewedLease, waitingClaim } from './answers.ts';
import type { Batcher } from './batcher.ts';
import type { Look } from './claim-desks.ts';
import type { DecisionDesk } from './decision-desk.ts';

/**
 * How far ahead a connected client counts as listening. The replica repeats it while the connection lasts, so a replica
 * that dies leaves its clients' grants as full leases for at most this long.
 */
export const listenMsMax = 6_000;

export interface ClaimsOptions {
  readonly clock: Clock;
  readonly decisions: DecisionDesk;
  readonly looks: Batcher<Look, Arrival>;
  readonly glances: Batcher<ClaimKey, Arrival>;
  readonly renewals: Batcher<RenewOperation, Arrival>;
  readonly room: WaitingRoom;
  /** The client of this waiting claim no longer listens. */
  readonly onStoppedListening: (key: ClaimKey) => void;
}

/** The verbs on claims. */
export class Claims {
  readonly #options: ClaimsOptions;

  constructor(options: ClaimsOptions) {
    this.#options = options;
  }

  /** Asking and polling are one idempotent call: the same claim id and holder get the claim's present state. */
  async acquire(queue: QueueName, body: AcquireBody, context: CallContext): Promise<HeldClaim | WaitingClaim> {
    const { clock, decisions, room } = this.#options;
    const key = { queue, claim_id: body.claim_id ?? randomUUID() };
    using seat = body.wait_ms > 0 && body.mode !== 'skip_if_busy' ? room.enter(key) : undefined;
    let arrival = await decisions.decide({
      op: 'acquire',
      ...key,
      holder: body.holder,
      priority: body.priority === 0 ? undefined : body.priority,
      ttl_ms: body.ttl_ms,
      mode: body.mode === 'wait' ? undefined : body.mode,
      labels: unlessEmpty(body.labels),
      metadata: unlessEmpty(body.metadata),
      weight: body.weight === 1 ? undefined : body.weight,
      also: otherQueues(queue, body),
      max_wait_ms: body.max_wait_ms,
      batch: body.batch,
      batch_rank: body.batch_rank,
      listen_ms: body.wait_ms === 0 ? undefined : Math.min(body.wait_ms, listenMsMax),
      fresh: body.claim_id === undefined ? true : undefined,
    });
    if (arrival.decision.code === 'waiting') {
      const timeoutMs = body.wait_ms - (clock.monotonicMs() - context.receivedAtMs);
      const news = await seat?.wait({ timeoutMs, signal: context.signal });
      seat?.leave();
      if (seat !== undefined && news === undefined) this.#options.onStoppedListening(key);
      arrival = await this.#settled(key, news, context);
    }
    switch (arrival.decision.code) {
      case 'held':
        return heldClaim(arrival, context.receivedAtMs);
      case 'waiting':
        return waitingClaim(arrival);
      default:
        throw refusal(arrival.decision);
    }
  }

  /** The live state of a claim, or how it ended. While it waits, up to `waitMs` for it to move. */
  async getClaim(queue: QueueName, claimId: ClaimId, waitMs: number, context: CallContext): Promise<ClaimView> {
    const { clock, looks, glances, room } = this.#options;
    const key = { queue, claim_id: claimId };
    // Whoever only looks gets no seat: those who sit there count as listening.
    using seat = waitMs > 0 && context.onlyLooks !== true ? room.enter(key) : undefined;
    let arrival =
      context.onlyLooks === true
        ? await glances.submit(key)
        : await looks.submit({ ...key, listen_ms: Math.min(waitMs, listenMsMax) });
    if (arrival.decision.code === 'waiting' && seat !== undefined) {
      const timeoutMs = waitMs - (clock.monotonicMs() - context.receivedAtMs);
      const news = await seat.wait({ timeoutMs, signal: context.signal });
      seat.leave();
      if (news === undefined) this.#options.onStoppedListening(key);
      arrival = await this.#settled(key, news, context);
    }
    return claimView(arrival, context.receivedAtMs);
  }

  async renew(queue: QueueName, claimId: ClaimId, body: RenewBody, context: CallContext): Promise<RenewedLease> {
    const { fencing_token, ttl_ms } = body;
    const arrival = await this.#options.renewals.submit({ queue, claim_id: claimId, fencing_token, ttl_ms });
    if (arrival.decision.code !== 'renewed') throw refusal(arrival.decision);
    return renewedLease(arrival, context.receivedAtMs);
  }

  async release(queue: QueueName, claimId: ClaimId, body: ReleaseBody): Promise<ReleaseAnswer> {
    const { decision } = await this.#options.decisions.decide({ op: 'release', queue, claim_id: claimId, ...body });
    return releaseAnswer(decision);
  }

  /** A waiting claim ends; a held one is asked to stop (`release_requested`); an ended one stays as it ended. */
  async cancel(queue: QueueName, claimId: ClaimId, context: CallContext): Promise<HeldClaim | EndedClaim> {
    const arrival = await this.#options.decisions.decide({ op: 'cancel', queue, claim_id: claimId });
    switch (arrival.decision.code) {
      case 'release_requested':
        return heldClaim(arrival, context.receivedAtMs);
      case 'cancelled':
      case 'already_ended':
        return endedClaim(arrival);
      default:
        throw refusal(arrival.decision);
    }
  }

  async break(queue: QueueName, claimId: ClaimId, body: BreakBody): Promise<EndedClaim> {
    const arrival = await this.#options.decisions.decide({ op: 'break', queue, claim_id: claimId, ...body });
    switch (arrival.decision.code) {
      case 'broken':
      case 'already_ended':
        return endedClaim(arrival);
      default:
        throw refusal(arrival.decision);
    }
  }

  /**
   * News from memory answers at once; without any, when it was sent before this request came (its commit took long), or
   * when it is an offer to be accepted, the rows are read. A
   * replica that stops answers too, with the claim's present state: its client may not know the id we made for it.
   */
  async #settled(key: ClaimKey, news: Arrival | undefined, context: CallContext): Promise<Arrival> {
    const isFresh = news !== undefined && news.sentAtMs >= context.receivedAtMs;
    if (isFresh && news.decision.body?.['offered'] !== true) return news;
    const isHangUp = context.signal.aborted && !(context.signal.reason instanceof SignalboxError);
    if (news === undefined && isHangUp) context.signal.throwIfAborted();
    return this.#options.looks.submit(key);
  }
}

/** Undefined = none. Throws 400 if the queue of the path is named again. */
function otherQueues(queue: QueueName, { also = [] }: AcquireBody) {
  if (also.length === 0) return undefined;
  if (alsoNames({ also }).includes(queue)) {
    const message = `must not name ${queue}, the queue that is asked`;
    throw new SignalboxError('invalid_request', {
      detail: `body /also: ${message}`,
      extra: { errors: [{ in: 'body', path: '/also', message }] },
    });
  }
  return also.map((other) => (typeof other === 'string' ? { queue: other, weight: 1 } : other));
}

function unlessEmpty<Value extends object>(value: Value): Value | undefined {
  for (const _ in value) return value;
  return undefined;
}
