import { randomBytes } from 'node:crypto';
import type { EndedClaim, HeldClaim, ReleaseAnswer, WaitingClaim } from '../../src/protocol/claims.ts';
import type { OrchestratorView } from '../../src/protocol/orchestrator.ts';
import type { QueueDetail } from '../../src/protocol/queues.ts';
import type { QueuedRun, ReleaseHeldAnswer, RenewHeldAnswer, TakenRun } from '../../src/protocol/runs.ts';

/** A problem document. */
export interface Problem {
  readonly code: string;
  readonly detail?: string;
  readonly state?: string;
  readonly reason?: string;
}

export interface Reply<Body = unknown> {
  readonly status: number;
  readonly body: Body;
  readonly headers: Headers;
}

export interface AskOptions {
  readonly signal?: AbortSignal;
}

export interface Acquire {
  readonly holder?: string;
  readonly metadata?: Readonly<Record<string, unknown>>;
  readonly claim_id?: string;
  readonly ttl_ms?: number;
  readonly wait_ms?: number;
  readonly mode?: 'wait' | 'skip_if_busy' | 'latest_only';
  readonly priority?: number;
  readonly labels?: Readonly<Record<string, string>>;
  readonly weight?: number;
  readonly max_wait_ms?: number;
  readonly also?: readonly (string | { readonly queue: string; readonly weight?: number })[];
}

export interface Enqueue {
  readonly claim_id?: string;
  readonly priority?: number;
  readonly payload?: unknown;
  readonly labels?: Readonly<Record<string, string>>;
  readonly delay_ms?: number;
  readonly max_attempts?: number;
  readonly max_age_ms?: number;
}

export interface Take {
  readonly holder?: string;
  readonly queue?: string;
  readonly prefix?: string;
  readonly max?: number;
  readonly ttl_ms?: number;
  readonly wait_ms?: number;
  readonly request_id?: string;
}

/** What is said of a lease that is given back. */
export interface Ending {
  readonly outcome?: 'success' | 'failure' | 'cancelled' | 'retry';
  readonly retry_after_ms?: number;
  readonly error?: string;
}

/** A good answer or a problem; the status says which. */
export type Answered<Body> = Reply<Partial<Body> & Partial<Problem>>;

/** Either a live claim, an ended one, or a problem; the status says which. */
export type ClaimReply = Reply<HeldClaim | WaitingClaim | Problem>;

/** What one operation of a batch was answered. */
export interface BatchResult {
  readonly status: number;
  readonly body: Partial<HeldClaim> & Partial<Problem> & Readonly<Record<string, unknown>>;
}

/** A client of one replica. It checks nothing: tests look at status and body. Connections are kept alive by fetch. */
export class TestClient {
  readonly url: string;

  constructor(url: string) {
    this.url = url;
  }

  async ask<Body = unknown>(
    method: string,
    path: string,
    body?: unknown,
    { signal }: AskOptions = {},
  ): Promise<Reply<Body>> {
    const response = await fetch(this.url + path, {
      method,
      ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
      ...(signal === undefined ? {} : { signal }),
    });
    const text = await response.text();
    return {
      status: response.status,
      body: (text === '' ? undefined : JSON.parse(text)) as Body,
      headers: response.headers,
    };
  }

  acquire(queue: string, body: Acquire = {}, options?: AskOptions): Promise<ClaimReply> {
    return this.ask(
      'POST',
      `/v1/queues/${encodeURIComponent(queue)}/acquire`,
      { holder: anId('holder'), ...body },
      options,
    );
  }

  /** Acquires and insists on a lease. */
  async hold(queue: string, body: Acquire = {}): Promise<HeldClaim> {
    return held(await this.acquire(queue, body));
  }

  get(queue: string, claimId: string, { waitMs = 0 } = {}): Promise<ClaimReply> {
    return this.ask('GET', `${claimPath(queue, claimId)}?wait_ms=${waitMs}`);
  }

  renew(lease: LeaseKey, body: { ttl_ms?: number } = {}): Promise<Reply<Partial<HeldClaim> & Partial<Problem>>> {
    return this.ask('POST', `${claimPath(lease.queue, lease.claim_id)}/renew`, {
      fencing_token: lease.fencing_token,
      ...body,
    });
  }

  release(lease: LeaseKey, ending: Ending = {}): Promise<Answered<ReleaseAnswer>> {
    return this.ask('POST', `${claimPath(lease.queue, lease.claim_id)}/release`, {
      fencing_token: lease.fencing_token,
      ...ending,
    });
  }

  enqueue(queue: string, body: Enqueue = {}): Promise<Reply<QueuedRun | HeldClaim | EndedClaim | Problem>> {
    return this.ask('POST', `/v1/queues/${encodeURIComponent(queue)}/enqueue`, body);
  }

  take(body: Take, options?: AskOptions): Promise<Answered<{ claims: readonly TakenRun[] }>> {
    return this.ask('POST', '/v1/take', { holder: anId('taker'), ...body }, options);
  }

  /** Takes one run and insists on it. */
  async takeOne(body: Take): Promise<TakenRun> {
    const reply = await this.take(body);
    const [taken, ...more] = reply.body.claims ?? [];
    if (taken !== undefined && more.length === 0) return taken;
    throw new Error(`not one taken: ${reply.status} ${JSON.stringify(reply.body)}`);
  }

  renewHeld(
    holder: string,
    body: { readonly claims?: readonly LeaseKey[]; readonly ttl_ms?: number } = {},
  ): Promise<Answered<RenewHeldAnswer>> {
    const claims = body.claims?.map(leaseKey);
    return this.ask('POST', `/v1/holders/${encodeURIComponent(holder)}/renew`, {
      ...body,
      ...(claims === undefined ? {} : { claims }),
    });
  }

  releaseHeld(holder: string, claims: readonly (LeaseKey & Ending)[]): Promise<Answered<ReleaseHeldAnswer>> {
    return this.ask('POST', `/v1/holders/${encodeURIComponent(holder)}/release`, {
      claims: claims.map(({ outcome, retry_after_ms, error, ...lease }) => ({
        ...leaseKey(lease),
        ...(outcome === undefined ? {} : { outcome }),
        ...(retry_after_ms === undefined ? {} : { retry_after_ms }),
        ...(error === undefined ? {} : { error }),
      })),
    });
  }

  batch(operations: readonly unknown[]): Promise<Answered<{ results: readonly BatchResult[] }>> {
    return this.ask('POST', '/v1/batch', { operations });
  }

  cancel(queue: string, claimId: string): Promise<Reply> {
    return this.ask('POST', `${claimPath(queue, claimId)}/cancel`);
  }

  put(queue: string, settings: Readonly<Record<string, unknown>>): Promise<Reply<QueueDetail>> {
    return this.ask('PUT', `/v1/queues/${encodeURIComponent(queue)}`, settings);
  }

  queue(queue: string): Promise<Reply<QueueDetail>> {
    return this.ask('GET', `/v1/queues/${encodeURIComponent(queue)}`);
  }

  orchestrator(): Promise<Reply<OrchestratorView>> {
    return this.ask('GET', '/v1/orchestrator');
  }

  ready(): Promise<Reply<{ ready?: true; details?: { notifications_work?: boolean } } & Partial<Problem>>> {
    return this.ask('GET', '/readyz');
  }

  alive(): Promise<Reply> {
    return this.ask('GET', '/healthz');
  }
}

export type LeaseKey = Pick<HeldClaim, 'queue' | 'claim_id' | 'fencing_token'>;

/** Of a lease what names it. */
export function leaseKey({ queue, claim_id, fencing_token }: LeaseKey): LeaseKey {
  return { queue, claim_id, fencing_token };
}

/** The lease in a reply, or an error that shows what came instead. */
export function held(reply: ClaimReply): HeldClaim {
  if (reply.status === 200 && 'state' in reply.body && reply.body.state === 'held') return reply.body as HeldClaim;
  throw new Error(`not held: ${reply.status} ${JSON.stringify(reply.body)}`);
}

export function waiting(reply: ClaimReply): WaitingClaim {
  if ('state' in reply.body && reply.body.state === 'waiting') return reply.body as WaitingClaim;
  throw new Error(`not waiting: ${reply.status} ${JSON.stringify(reply.body)}`);
}

/** A name nobody else uses. */
export function anId(prefix: string): string {
  return `${prefix}-${randomBytes(5).toString('hex')}`;
}

function claimPath(queue: string, claimId: string): string {
  return `/v1/queues/${encodeURIComponent(queue)}/claims/${encodeURIComponent(claimId)}`;
}
