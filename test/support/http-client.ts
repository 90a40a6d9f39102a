import { randomBytes } from 'node:crypto';
import type { HeldClaim, WaitingClaim } from '../../src/protocol/claims.ts';
import type { OrchestratorView } from '../../src/protocol/orchestrator.ts';
import type { QueueDetail } from '../../src/protocol/queues.ts';

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
  readonly claim_id?: string;
  readonly ttl_ms?: number;
  readonly wait_ms?: number;
  readonly mode?: 'wait' | 'skip_if_busy' | 'latest_only';
  readonly priority?: number;
}

/** Either a live claim, an ended one, or a problem; the status says which. */
export type ClaimReply = Reply<HeldClaim | WaitingClaim | Problem>;

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

  release(lease: LeaseKey): Promise<Reply<{ released?: boolean } & Partial<Problem>>> {
    return this.ask('POST', `${claimPath(lease.queue, lease.claim_id)}/release`, {
      fencing_token: lease.fencing_token,
    });
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
