import { type HttpOutcome, httpCall } from './http-call.ts';
import type { Inputs, Outcome } from './inputs.ts';
import type { MergeGroup } from './merge-group.ts';

/** Why a build waits, as far as the service says it; mq-lease-service says nothing. */
export interface WaitDetail {
  readonly position: number | undefined;
  readonly registered: number | undefined;
  readonly waitingFor: string | undefined;
  readonly windowRemainingMs: number | undefined;
  readonly delaysLeft: number | undefined;
  readonly blockedBy:
    | { readonly headSha: string; readonly headRef: string; readonly priority: number; readonly heldForMs?: number }
    | undefined;
}

/** What may come of any call and is no answer to it. */
export type Unanswered =
  /** Will not become better by asking again. */
  | { readonly kind: 'refused'; readonly status: number; readonly why: string; readonly body: ErrorBody }
  /** Try again; whether this one had its effect is unknown. */
  | { readonly kind: 'unavailable'; readonly why: string; readonly retryAfterMs: number | undefined };

export type AcquireOutcome =
  | {
      readonly kind: 'acquired';
      /** The list as it came. */
      readonly stackedPullRequests: unknown;
      /** Absent from mq-lease-service. */
      readonly fencingToken: number | undefined;
      readonly renewAfterMs: number | undefined;
    }
  | { readonly kind: 'completed' }
  | {
      readonly kind: 'pending';
      readonly wait: WaitDetail;
      /** Counted from when the call was sent. */
      readonly pollAfterMs: number | undefined;
    }
  /** 409: newcomers are kept out for now, or this commit is no longer one that waits. */
  | { readonly kind: 'kept_out'; readonly why: string; readonly retryAfterMs: number | undefined }
  | Unanswered;

export type ReleaseOutcome =
  | { readonly kind: 'released'; readonly status: string }
  /** This commit has nothing to release, and so says the service. */
  | { readonly kind: 'not_held'; readonly why: string }
  | Unanswered;

export type RenewOutcome = { readonly kind: 'renewed' } | { readonly kind: 'lost'; readonly why: string } | Unanswered;

interface ErrorBody {
  readonly error: string;
  readonly context: unknown;
}

/** One merge queue of the service, as seen by one build. One call each, no repeats. */
export class LeaseService {
  readonly #url: string;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #group: MergeGroup;

  constructor({ serviceUrl, authorization }: Pick<Inputs, 'serviceUrl' | 'authorization'>, group: MergeGroup) {
    const path = [group.owner, group.repo, group.baseRef].map(encodeURIComponent).join('/');
    this.#url = `${serviceUrl}/${path}`;
    this.#headers = { accept: 'application/json', ...(authorization === undefined ? {} : { authorization }) };
    this.#group = group;
  }

  /** Waits up to `waitMs` for a better answer than pending, where the service can. */
  async acquire(
    call: { priority: number; requestId: string; holdTtlMs: number; waitMs: number },
    signal: AbortSignal,
  ): Promise<AcquireOutcome> {
    const { waitMs, priority, requestId, holdTtlMs } = call;
    const body = { priority, request_id: requestId, hold_ttl_ms: holdTtlMs, wait_ms: waitMs };
    const answer = await this.#post('acquire', { ...this.#build(), ...body }, waitMs + 20_000, signal);
    if (answer.kind === 'answered' && answer.status === 409)
      return { kind: 'kept_out', why: contextOf(answer), retryAfterMs: answer.retryAfterMs };
    const json = good(answer);
    const status = record(json?.['request'])['status'];
    if (json === undefined || answer.kind === 'failed') return unanswered(answer);
    if (status === 'acquired')
      return {
        kind: 'acquired',
        stackedPullRequests: json['stacked_pull_requests'] ?? [],
        fencingToken: number(json['fencing_token']),
        renewAfterMs: number(json['renew_after_ms']),
      };
    if (status === 'completed') return { kind: 'completed' };
    if (status === 'pending')
      return {
        kind: 'pending',
        wait: waitDetail(json),
        pollAfterMs: number(json['poll_after_ms']) ?? answer.retryAfterMs,
      };
    return { kind: 'unavailable', why: `an answer without a status we know`, retryAfterMs: undefined };
  }

  async release(
    call: { priority: number; outcome: Outcome; fencingToken: number | undefined },
    signal: AbortSignal,
  ): Promise<ReleaseOutcome> {
    const { priority, outcome, fencingToken } = call;
    const token = fencingToken === undefined ? {} : { fencing_token: fencingToken };
    const answer = await this.#post(
      'release',
      { ...this.#build(), priority, status: outcome, ...token },
      20_000,
      signal,
    );
    const status = record(good(answer)?.['request'])['status'];
    if (typeof status === 'string') return { kind: 'released', status };
    // A body that the service does not accept says "Invalid request" instead.
    if (answer.kind === 'answered' && answer.status === 400 && errorOf(answer).error === "Couldn't release the lock")
      return { kind: 'not_held', why: contextOf(answer) };
    return unanswered(answer);
  }

  async renew(fencingToken: number, timeoutMs: number, signal: AbortSignal): Promise<RenewOutcome> {
    const body = { head_sha: this.#group.headSha, fencing_token: fencingToken };
    const answer = await this.#post('renew', body, timeoutMs, signal);
    if (good(answer) !== undefined) return { kind: 'renewed' };
    if (answer.kind === 'answered' && (answer.status === 410 || answer.status === 409))
      return { kind: 'lost', why: contextOf(answer) };
    return unanswered(answer);
  }

  #build() {
    return { head_sha: this.#group.headSha, head_ref: this.#group.headRef };
  }

  #post(verb: string, body: unknown, timeoutMs: number, signal: AbortSignal): Promise<HttpOutcome> {
    return httpCall({ method: 'POST', url: `${this.#url}/${verb}`, headers: this.#headers, body, timeoutMs, signal });
  }
}

type Answered = Extract<HttpOutcome, { kind: 'answered' }>;

function good(answer: HttpOutcome): Readonly<Record<string, unknown>> | undefined {
  return answer.kind === 'answered' && answer.status === 200 ? answer.json : undefined;
}

/** A call of ours that is wrong stays wrong; all else may pass, a page that a proxy put in the service's place included. */
function unanswered(answer: HttpOutcome): Unanswered {
  if (answer.kind === 'failed') return { kind: 'unavailable', why: answer.why, retryAfterMs: undefined };
  const { status, retryAfterMs } = answer;
  const why = `${status} ${inOneLine(answer)}`;
  const mayPass = status >= 500 || status === 200 || status === 408 || status === 425 || status === 429;
  return mayPass ? { kind: 'unavailable', why, retryAfterMs } : { kind: 'refused', status, why, body: errorOf(answer) };
}

function errorOf({ json }: Answered): ErrorBody {
  return { error: typeof json?.['error'] === 'string' ? json['error'] : '', context: json?.['error_context'] };
}

/** The particular reason where there is one, or all that was said. */
function contextOf(answer: Answered): string {
  const { context } = errorOf(answer);
  return typeof context === 'string' && context !== '' ? context : inOneLine(answer);
}

function inOneLine(answer: Answered): string {
  const { error, context } = errorOf(answer);
  const said = error === '' ? answer.text : [error, context === undefined ? '' : words(context)].join(' ');
  return said.replace(/\s+/g, ' ').trim().slice(0, 500);
}

function words(context: unknown): string {
  return typeof context === 'string' ? context : JSON.stringify(context);
}

function waitDetail(json: Readonly<Record<string, unknown>>): WaitDetail {
  const by = record(json['blocked_by']);
  const [headSha, headRef, priority, heldForMs] = [by['head_sha'], by['head_ref'], by['priority'], by['held_for_ms']];
  return {
    position: number(json['position']),
    registered: number(json['registered']),
    waitingFor: typeof json['waiting_for'] === 'string' ? json['waiting_for'] : undefined,
    windowRemainingMs: number(json['window_remaining_ms']),
    delaysLeft: number(json['delays_left']),
    blockedBy:
      typeof headSha === 'string' && typeof headRef === 'string' && typeof priority === 'number'
        ? { headSha, headRef, priority, ...(typeof heldForMs === 'number' ? { heldForMs } : {}) }
        : undefined,
  };
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
}

function number(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined;
}
