import { type HttpOutcome, httpCall } from './http-call.ts';
import type { Inputs, Outcome } from './inputs.ts';
import type { MergeGroup } from './merge-group.ts';
import { inOneLine } from './runner.ts';
import { toldMs } from './time-limit.ts';

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
  /** Try again. */
  | {
      readonly kind: 'unavailable';
      readonly why: string;
      readonly retryAfterMs: number | undefined;
      /** Whether it may have had its effect all the same. */
      readonly mayHaveArrived: boolean;
    };

/** A good answer with something in it that no such service says: whatever it had for an effect, nothing of it is used. */
export interface Invalid {
  readonly kind: 'invalid';
  readonly why: string;
}

/** What can become of a build that is released, in the words of the services. */
const endStatuses: readonly unknown[] = ['completed', 'success', 'failure', 'cancelled'];

export type AcquireOutcome =
  | {
      readonly kind: 'acquired';
      readonly stackedPullRequests: readonly { readonly number: number }[];
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
  | Invalid
  | Unanswered;

export type ReleaseOutcome =
  | { readonly kind: 'released'; readonly status: string }
  /** This commit has nothing to release, and so says the service. */
  | { readonly kind: 'not_held'; readonly why: string }
  | Invalid
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
    if (json === undefined || answer.kind === 'failed') return unanswered(answer);
    const status = statusOf(json);
    if (status === 'acquired') return this.#acquired(json);
    if (status === 'completed') return { kind: 'completed' };
    if (status === 'pending')
      return {
        kind: 'pending',
        wait: waitDetail(json),
        pollAfterMs: toldMs(json['poll_after_ms']) ?? answer.retryAfterMs,
      };
    return status === undefined ? unanswered(answer) : this.#invalid('status', status);
  }

  #acquired(json: Json): AcquireOutcome {
    const stack = json['stacked_pull_requests'] ?? [];
    if (!isStack(stack)) return this.#invalid('stacked_pull_requests', stack);
    const token = json['fencing_token'] ?? undefined;
    if (token !== undefined && !isWhole(token)) return this.#invalid('fencing_token', token);
    const stackedPullRequests = stack.map(({ number: pullRequest }) => ({ number: pullRequest }));
    const renewAfterMs = number(json['renew_after_ms']);
    return { kind: 'acquired', stackedPullRequests, fencingToken: token, renewAfterMs };
  }

  #invalid(name: string, value: unknown): Invalid {
    const shown = inOneLine(JSON.stringify(value)).slice(0, 100);
    return { kind: 'invalid', why: `the service at ${this.#url} answers with a ${name} that cannot be one: ${shown}` };
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
    const status = statusOf(good(answer));
    if (typeof status === 'string' && endStatuses.includes(status)) return { kind: 'released', status };
    if (status !== undefined) return this.#invalid('status', status);
    // A body that the service does not accept says "Invalid request" instead.
    if (answer.kind === 'answered' && answer.status === 400 && errorOf(answer).error === "Couldn't release the lock")
      return { kind: 'not_held', why: contextOf(answer) };
    return unanswered(answer);
  }

  async renew(fencingToken: number, timeoutMs: number, signal: AbortSignal): Promise<RenewOutcome> {
    const body = { head_sha: this.#group.headSha, fencing_token: fencingToken };
    const answer = await this.#post('renew', body, timeoutMs, signal);
    if (statusOf(good(answer)) === 'acquired') return { kind: 'renewed' };
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
type Json = Readonly<Record<string, unknown>>;

function good(answer: HttpOutcome): Json | undefined {
  return answer.kind === 'answered' && answer.status === 200 ? answer.json : undefined;
}

function statusOf(json: Json | undefined): unknown {
  return record(json?.['request'])['status'];
}

function isStack(value: unknown): value is readonly { readonly number: number }[] {
  return Array.isArray(value) && value.every((it) => isWhole(record(it)['number']));
}

function isWhole(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 1;
}

/** A call of ours that is wrong stays wrong; all else may pass, a page that a proxy put in the service's place included. */
function unanswered(answer: HttpOutcome): Unanswered {
  if (answer.kind === 'failed')
    return { kind: 'unavailable', why: answer.why, retryAfterMs: undefined, mayHaveArrived: true };
  const { status, retryAfterMs } = answer;
  const why = `${status} ${said(answer)}`.trimEnd();
  const mayHaveArrived = status >= 500 || status === 200 || status === 408;
  if (mayHaveArrived || status === 425 || status === 429)
    return { kind: 'unavailable', why, retryAfterMs, mayHaveArrived };
  return { kind: 'refused', status, why, body: errorOf(answer) };
}

function errorOf({ json }: Answered): ErrorBody {
  return { error: typeof json?.['error'] === 'string' ? json['error'] : '', context: json?.['error_context'] };
}

/** The particular reason where there is one, or all that was said. */
function contextOf(answer: Answered): string {
  const { context } = errorOf(answer);
  return typeof context === 'string' && context !== '' ? short(context) : said(answer);
}

function said(answer: Answered): string {
  const { error, context } = errorOf(answer);
  return short(error === '' ? answer.text : [error, context === undefined ? '' : words(context)].join(' '));
}

function short(text: string): string {
  return inOneLine(text.slice(0, 5000)).slice(0, 500);
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

function record(value: unknown): Json {
  return typeof value === 'object' && value !== null ? (value as Json) : {};
}

function number(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined;
}
