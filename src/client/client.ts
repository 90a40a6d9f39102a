import { randomUUID } from 'node:crypto';
import type { EndedClaim, HeldClaim, ReleaseAnswer, RenewedLease, WaitingClaim } from '../protocol/claims.ts';
import type { OrchestratorView } from '../protocol/orchestrator.ts';
import type { QueueDetail, QueuePage, QueueSettingsChange, TokenCheck } from '../protocol/queues.ts';
import { type CallOptions, HttpCalls, type RetryOptions } from './http-calls.ts';

export interface SignalboxClientOptions {
  /** Of any replica or of a balancer in front of them; may have a path. */
  readonly url: string;
  /** Bearer token. */
  readonly token?: string | undefined;
  /** How long one attempt of a call may take, in ms (10000). */
  readonly timeoutMs?: number;
  /** Attempts and backoff after a failed connection or a 5xx (5 attempts, 100 ms doubling up to 2000 ms, jittered). */
  readonly retry?: Partial<RetryOptions>;
}

export type Mode = 'wait' | 'skip_if_busy' | 'latest_only';
export type Outcome = 'success' | 'failure' | 'cancelled';

/** Bodies as in the HTTP interface. */
export interface AcquireRequest {
  readonly holder: string;
  readonly claim_id?: string | undefined;
  readonly priority?: number | undefined;
  readonly ttl_ms?: number | undefined;
  readonly wait_ms?: number | undefined;
  readonly mode?: Mode | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly metadata?: Readonly<Record<string, unknown>> | undefined;
}

/** What names one grant. */
export type LeaseKey = Pick<HeldClaim, 'queue' | 'claim_id' | 'fencing_token'>;

/**
 * The HTTP interface, typed: one method a call, answers as they come (snake_case, durations in ms). Problem documents are
 * thrown as `SignalboxError`; failed connections and 5xx are retried, then thrown as `ServiceUnreachableError` or
 * `SignalboxError`. Answers are not validated again.
 */
export class SignalboxClient {
  readonly url: string;
  readonly #calls: HttpCalls;

  constructor({ url, token, timeoutMs = 10_000, retry }: SignalboxClientOptions) {
    this.url = url;
    this.#calls = new HttpCalls({
      url,
      token,
      timeoutMs,
      retry: { attempts: 5, firstMs: 100, maxMs: 2000, ...retry },
    });
  }

  /** Asks for a place, or how the claim stands. A claim id is made here if there is none, so a retry is the same claim. */
  async acquire(queue: string, body: AcquireRequest, options?: CallOptions): Promise<HeldClaim | WaitingClaim> {
    const call = {
      method: 'POST',
      path: `${queuePath(queue)}/acquire`,
      body: { ...body, claim_id: body.claim_id ?? randomUUID() },
      waitMs: body.wait_ms ?? 0,
    } as const;
    return (await this.#calls.send(call, options)) as HeldClaim | WaitingClaim;
  }

  async getClaim(
    queue: string,
    claimId: string,
    { waitMs = 0, ...options }: CallOptions & { readonly waitMs?: number } = {},
  ): Promise<HeldClaim | WaitingClaim | EndedClaim> {
    const path = `${claimPath(queue, claimId)}?wait_ms=${waitMs}`;
    return (await this.#calls.send({ method: 'GET', path, waitMs }, options)) as HeldClaim | WaitingClaim | EndedClaim;
  }

  /** Keeps the lease for another `ttl_ms` (absent: its own). 410 `lease_lost` has the reason in `extra`. */
  async renew(lease: LeaseKey, options: CallOptions & { readonly ttlMs?: number } = {}): Promise<RenewedLease> {
    const { ttlMs, ...callOptions } = options;
    return (await this.#onLease(lease, 'renew', { ttl_ms: ttlMs }, callOptions)) as RenewedLease;
  }

  /** Gives the place back. A lease that is already over answers `released: false` with the reason. */
  async release(lease: LeaseKey, options: CallOptions & { readonly outcome?: Outcome } = {}): Promise<ReleaseAnswer> {
    const { outcome, ...callOptions } = options;
    return (await this.#onLease(lease, 'release', { outcome }, callOptions)) as ReleaseAnswer;
  }

  /** A waiting claim ends; the holder of a held one is asked to release it. */
  async cancel(queue: string, claimId: string, options?: CallOptions): Promise<HeldClaim | EndedClaim> {
    const call = { method: 'POST', path: `${claimPath(queue, claimId)}/cancel`, body: {} } as const;
    return (await this.#calls.send(call, options)) as HeldClaim | EndedClaim;
  }

  /** Ends a claim by an operator's decision, without its holder. */
  async break(
    queue: string,
    claimId: string,
    body: { readonly reason: string; readonly actor: string },
    options?: CallOptions,
  ): Promise<EndedClaim> {
    const call = { method: 'POST', path: `${claimPath(queue, claimId)}/break`, body } as const;
    return (await this.#calls.send(call, options)) as EndedClaim;
  }

  /** Makes a queue or changes its settings. With `ifVersion` it is sent once only: a repeat would meet its own change. */
  async configureQueue(
    queue: string,
    body: QueueSettingsChange,
    { ifVersion, ...options }: CallOptions & { readonly ifVersion?: number } = {},
  ): Promise<QueueDetail> {
    const call = { method: 'PUT', path: queuePath(queue), body, ...onlyAtVersion(ifVersion) } as const;
    return (await this.#calls.send(call, options)) as QueueDetail;
  }

  async getQueue(queue: string, options?: CallOptions): Promise<QueueDetail> {
    return (await this.#calls.send({ method: 'GET', path: queuePath(queue) }, options)) as QueueDetail;
  }

  /** One page of queues by name; `next_cursor` goes into `cursor` for the next one. */
  async listQueues(
    options: CallOptions & { readonly prefix?: string; readonly cursor?: string; readonly limit?: number } = {},
  ): Promise<QueuePage> {
    const { prefix = '', cursor = '', limit = 100, ...callOptions } = options;
    const query = new URLSearchParams({ prefix, cursor, limit: `${limit}` });
    return (await this.#calls.send({ method: 'GET', path: `v1/queues?${query.toString()}` }, callOptions)) as QueuePage;
  }

  /** Deletes a queue nobody uses, or with `force` any. Sent once: the queue is gone when it is asked again. */
  async deleteQueue(
    queue: string,
    options: CallOptions & { readonly force?: boolean; readonly ifVersion?: number } = {},
  ): Promise<void> {
    const { force = false, ifVersion, ...callOptions } = options;
    const path = `${queuePath(queue)}?force=${force}`;
    const call = { method: 'DELETE', path, ...onlyAtVersion(ifVersion), isIdempotent: false } as const;
    await this.#calls.send(call, callOptions);
  }

  /** Does a held lease of this slot bear exactly this token? */
  async checkToken(queue: string, token: number, slot = 1, options?: CallOptions): Promise<TokenCheck> {
    const path = `${queuePath(queue)}/check?fencing_token=${token}&slot=${slot}`;
    return (await this.#calls.send({ method: 'GET', path }, options)) as TokenCheck;
  }

  async orchestrator(options?: CallOptions): Promise<OrchestratorView> {
    return (await this.#calls.send({ method: 'GET', path: 'v1/orchestrator' }, options)) as OrchestratorView;
  }

  /** Resolves if the replica that answers can serve; throws its reason otherwise, at once. */
  async ready(options?: CallOptions): Promise<void> {
    await this.#calls.send({ method: 'GET', path: 'readyz', isIdempotent: false }, options);
  }

  #onLease(lease: LeaseKey, verb: 'renew' | 'release', body: object, options: CallOptions): Promise<unknown> {
    const path = `${claimPath(lease.queue, lease.claim_id)}/${verb}`;
    return this.#calls.send({ method: 'POST', path, body: { fencing_token: lease.fencing_token, ...body } }, options);
  }
}

function queuePath(queue: string): string {
  return `v1/queues/${encodeURIComponent(queue)}`;
}

function claimPath(queue: string, claimId: string): string {
  return `${queuePath(queue)}/claims/${encodeURIComponent(claimId)}`;
}

function onlyAtVersion(version: number | undefined): { headers?: Record<string, string>; isIdempotent?: false } {
  return version === undefined ? {} : { headers: { 'if-match': `"${version}"` }, isIdempotent: false };
}
