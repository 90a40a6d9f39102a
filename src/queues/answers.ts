import type { Arrival } from '../notifier/waiting-room.ts';
import type {
  ClaimView,
  EndedClaim,
  HeldClaim,
  ReleaseAnswer,
  RenewedLease,
  WaitingClaim,
} from '../protocol/claims.ts';
import { SignalboxError } from '../protocol/errors.ts';
import type { Decision } from '../store/decisions.ts';

/**
 * A lease as the holder gets it: its deadline = its own send time + waited_ms + ttl_remaining_ms, and that must never be
 * later than the database's. So waited_ms is rounded down, and what was read before the request arrived has lost the
 * time in between.
 */
export function heldClaim({ decision, sentAtMs }: Arrival, receivedAtMs: number): HeldClaim {
  const lease = withoutInternals(decision) as unknown as HeldClaim;
  const waitedMs = sentAtMs - receivedAtMs;
  if (waitedMs >= 0) return { ...lease, waited_ms: Math.floor(waitedMs) };
  const ttlRemainingMs = Math.max(0, lease.ttl_remaining_ms - Math.ceil(-waitedMs));
  return { ...lease, waited_ms: 0, ttl_remaining_ms: ttlRemainingMs, renew_after_ms: Math.floor(ttlRemainingMs / 3) };
}

export function waitingClaim({ decision }: Arrival): WaitingClaim {
  return bodyOf(decision) as unknown as WaitingClaim;
}

export function endedClaim({ decision }: Arrival): EndedClaim {
  return withoutInternals(decision) as unknown as EndedClaim;
}

/** A claim as it was read, whatever its state. */
export function claimView(arrival: Arrival, receivedAtMs: number): ClaimView {
  switch (arrival.decision.code) {
    case 'held':
      return heldClaim(arrival, receivedAtMs);
    case 'waiting':
      return waitingClaim(arrival);
    case 'ended':
      return endedClaim(arrival);
    default:
      throw refusal(arrival.decision);
  }
}

/** What a renewal changes, or its holder may not know (signalbox.renewed_body). */
interface RenewedBody {
  readonly fencing_token: RenewedLease['fencing_token'];
  readonly slot: number;
  readonly release_requested: boolean;
  readonly ttl_remaining_ms: number;
  readonly expires_at: string;
}

/** A renewal is sent after it was asked for, so all the time that its lease has left counts from then on. */
export function renewedLease({ decision, sentAtMs }: Arrival, receivedAtMs: number): RenewedLease {
  const { fencing_token, slot, release_requested, ttl_remaining_ms, expires_at } = bodyOf(
    decision,
  ) as unknown as RenewedBody;
  return {
    claim_id: decision.claim_id as RenewedLease['claim_id'],
    queue: decision.queue as RenewedLease['queue'],
    fencing_token,
    slot,
    ttl_remaining_ms,
    waited_ms: Math.max(0, Math.floor(sentAtMs - receivedAtMs)),
    renew_after_ms: Math.floor(ttl_remaining_ms / 3),
    release_requested,
    expires_at,
  };
}

export function releaseAnswer(decision: Decision): ReleaseAnswer {
  switch (decision.code) {
    case 'released': {
      const { state, due_at: dueAt } = withoutInternals(decision) as {
        readonly state: 'released' | NonNullable<ReleaseAnswer['state']>;
        readonly due_at?: string;
      };
      // Where it is only if it is not simply over.
      return { released: true, ...(state === 'released' ? {} : { state }), ...(dueAt ? { due_at: dueAt } : {}) };
    }
    case 'not_released':
      return { released: false, reason: String(decision.body?.['reason']) };
    default:
      throw refusal(decision);
  }
}

const busyTexts: Readonly<Record<string, string>> = {
  no_free_slot: 'has no free place',
  behind_others: 'has no place for newcomers: others wait in line',
  paused: 'is paused',
  limit_zero: 'grants nothing: its limit is 0',
  lock_delay: 'keeps its free place empty for its lock delay',
  cleanup: 'has no clean place free: a cleaner must clean one first',
};

function busyText(waitingFor: string): string {
  return Object.hasOwn(busyTexts, waitingFor) ? (busyTexts[waitingFor] ?? '') : `grants nothing now: ${waitingFor}`;
}

/** The refusals of every verb, as they leave. */
export function refusal(decision: Decision): Error {
  const body = decision.body ?? {};
  const claim = `Claim ${decision.claim_id ?? ''} of queue ${decision.queue}`;
  switch (decision.code) {
    case 'queue_not_found':
      return new SignalboxError('queue_not_found', { detail: `There is no queue ${decision.queue}.` });
    case 'claim_not_found':
      return new SignalboxError('claim_not_found', { detail: `${claim} is not known.` });
    case 'claim_id_reused':
      return new SignalboxError('claim_id_reused', { detail: `${claim} belongs to another holder.` });
    case 'not_primary':
      return new SignalboxError('not_primary', {
        detail: `${claim} was asked for in queue ${String(body['primary'])}: ask there.`,
        extra: { primary: body['primary'] },
      });
    case 'token_mismatch':
      return new SignalboxError('token_mismatch', { detail: `${claim} never had this fencing token.` });
    case 'queue_busy':
      return new SignalboxError('queue_busy', {
        detail: `Queue ${decision.queue} ${busyText(String(body['waiting_for']))}.`,
        extra: { waiting_for: body['waiting_for'] },
      });
    case 'queue_closed':
      return new SignalboxError('queue_closed', {
        detail: `Queue ${decision.queue} is closed: it takes nothing new; what is in line is served.`,
      });
    case 'quarantined':
      return new SignalboxError('quarantined', {
        detail: `The database failed over: queue ${decision.queue} grants nothing new until ${String(body['quarantined_until'])}.`,
        extra: { quarantined_until: body['quarantined_until'] },
        retryAfterMs: Number(body['retry_after_ms']),
      });
    case 'queue_full':
      return new SignalboxError('queue_full', {
        detail: `The line of queue ${decision.queue} is at its bound of ${String(body['max_waiting'] ?? body['max_runs'])}.`,
        retryAfterMs: 5000,
      });
    case 'ttl_too_long':
      return new SignalboxError('ttl_too_long', {
        detail: `ttl_ms is above max_ttl_ms ${String(body['max_ttl_ms'])} of queue ${decision.queue}.`,
        extra: { max_ttl_ms: body['max_ttl_ms'] },
      });
    case 'ended':
    case 'claim_ended':
      return new SignalboxError('claim_ended', {
        detail: `${claim} has ended: ${String(body['state'])} (${String(body['reason'])}).`,
        extra: pick(body, ['claim_id', 'queue', 'state', 'reason', 'outcome', 'fencing_token', 'ended_at', 'detail']),
      });
    case 'lease_lost':
      return new SignalboxError('lease_lost', {
        detail: `The lease of claim ${decision.claim_id ?? ''} in queue ${decision.queue} is over: ${String(body['reason'])}.`,
        extra: { reason: body['reason'] },
      });
    case 'request_id_reused':
      return new SignalboxError('request_id_reused', {
        detail: `Request ${decision.claim_id ?? ''} of this holder was for another queue or prefix.`,
      });
    case 'not_retryable':
      return new SignalboxError('not_retryable', { detail: `${claim} is neither delayed nor dead.` });
    case 'not_blocking':
      return new SignalboxError('not_blocking', { detail: `${claim} does not block its line.` });
    case 'queue_in_use':
      return new SignalboxError('queue_in_use', {
        detail: `Queue ${decision.queue} has ${Object.entries(body)
          .map(([what, count]) => `${String(count)} ${what.replace('_', ' ')}`)
          .join(', ')}.`,
        extra: body,
      });
    case 'version_mismatch':
      return new SignalboxError('version_mismatch', {
        detail: `Queue ${decision.queue} is at version ${JSON.stringify(body['version'])}.`,
        extra: body,
      });
    case 'invalid_settings':
      return new SignalboxError('invalid_settings', { detail: String(body['detail']) });
    case 'line_busy':
      return new SignalboxError('overloaded', { retryAfterMs: 1000 });
    default:
      return new Error(`unexpected decision ${decision.code} about ${claim}`);
  }
}

function bodyOf(decision: Decision): Readonly<Record<string, unknown>> {
  if (decision.body === null) throw new Error(`decision ${decision.code} came without a body`);
  return decision.body;
}

/**
 * What is between the replica and the database does not go out: whether a grant was an offer (whoever reads it here has
 * been heard), and when to look again.
 */
export function withoutInternals(decision: Decision): Readonly<Record<string, unknown>> {
  const body = bodyOf(decision);
  // Deleting members makes an object slow, also to write it out as JSON; most bodies have none of these.
  if (!internals.some((name) => name in body)) return body;
  return Object.fromEntries(Object.entries(body).filter(([name]) => !internals.includes(name)));
}

const internals = ['offered', 'due_in_ms', 'dead_letter'];

function pick(body: Readonly<Record<string, unknown>>, keys: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(keys.filter((key) => body[key] != null).map((key) => [key, body[key]]));
}
