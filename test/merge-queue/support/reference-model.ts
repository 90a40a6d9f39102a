/**
 * mq-lease-service as its specification says it behaves (sections 4.1 to 4.5), its quirks and wedges included. Written
 * from the specification alone, as a model to compare with: nothing of ours is used here. Storage is left out.
 */

export interface ReferenceOptions {
  readonly windowMs: number;
  readonly ttlMs: number;
  readonly expectedCount: number;
  readonly delayCount: number;
}

type Status = 'pending' | 'acquired' | 'failure' | 'success' | 'completed';

export interface ReferenceCall {
  readonly headSha: string;
  readonly headRef: string;
  readonly priority: number;
}

interface Known {
  readonly headSha: string;
  headRef: string;
  priority: number;
  status: Status;
  lastSeenAtMs: number;
  delaysLeft: number;
}

export interface ReferenceContext {
  readonly request: {
    readonly head_sha: string;
    readonly head_ref: string;
    readonly priority: number;
    readonly status: string;
  };
  readonly stacked_pull_requests?: readonly { readonly number: number }[];
}

export type ReferenceAnswer =
  | ({ readonly code: 200 } & ReferenceContext)
  | { readonly code: 400 | 409; readonly error: string; readonly error_context: string };

export interface ReferenceProviderView {
  readonly last_updated_at_ms: number;
  readonly acquired: ReferenceContext | null;
  readonly known: readonly ReferenceContext[];
}

export class ReferenceModel {
  readonly #options: ReferenceOptions;
  readonly #known = new Map<string, Known>();
  #acquired: Known | null = null;
  #lastUpdatedAtMs: number;

  constructor(options: ReferenceOptions, nowMs: number) {
    this.#options = options;
    this.#lastUpdatedAtMs = nowMs;
  }

  acquire(call: ReferenceCall, nowMs: number): ReferenceAnswer {
    const inserted = this.#insert(call, 'pending', nowMs);
    if (typeof inserted === 'string') return { code: 409, error: "Couldn't acquire the lock", error_context: inserted };
    return { code: 200, ...this.#evaluate(inserted, nowMs) };
  }

  release(call: ReferenceCall & { readonly status: 'success' | 'failure' }, nowMs: number): ReferenceAnswer {
    const refuse = (error_context: string): ReferenceAnswer => ({
      code: 400,
      error: "Couldn't release the lock",
      error_context,
    });
    if (this.#acquired === null) return refuse('no lease acquired');
    if (this.#acquired.headSha !== call.headSha) return refuse('commit SHA does not hold the lease');
    const request = this.#insert(call, call.status, nowMs);
    if (typeof request === 'string') return refuse(request);
    if (call.status === 'success') request.status = 'completed';
    else {
      this.#known.delete(request.headSha);
      if (this.#known.size === 0) this.#acquired = null;
    }
    return { code: 200, ...this.#context(request) };
  }

  clear(nowMs: number): void {
    this.#known.clear();
    this.#acquired = null;
    this.#lastUpdatedAtMs = nowMs;
  }

  show(): ReferenceProviderView {
    return {
      last_updated_at_ms: this.#lastUpdatedAtMs,
      acquired: this.#acquired === null ? null : this.#context(this.#acquired),
      known: this.#ascending().map((request) => this.#context(request)),
    };
  }

  /** Steps 1 to 3: cleanup, insert, evict. A text is the context of a refusal. */
  #insert(call: ReferenceCall, status: 'pending' | 'success' | 'failure', nowMs: number): Known | string {
    if (this.#acquired?.status === 'completed' && this.#known.size === 1) {
      this.#known.delete(this.#acquired.headSha);
      this.#acquired = null;
    }
    let request = this.#known.get(call.headSha);
    if (request === undefined) {
      if (this.#acquired !== null) return 'lease already acquired';
      if (status !== 'pending') return `invalid status ${status} for new LeaseRequest`;
      request = { ...call, status, lastSeenAtMs: nowMs, delaysLeft: this.#options.delayCount };
      this.#known.set(call.headSha, request);
      this.#lastUpdatedAtMs = nowMs;
    } else {
      let isUpdated = request.priority !== call.priority || request.headRef !== call.headRef;
      request.priority = call.priority;
      request.headRef = call.headRef;
      if (status === 'pending' ? request.status !== 'pending' : request.status !== 'acquired')
        return `status missmatch for commit SHA; expected: ${request.status}`;
      if (request.status !== status) isUpdated = true;
      request.status = status;
      request.lastSeenAtMs = nowMs;
      if (isUpdated) this.#lastUpdatedAtMs = nowMs;
    }
    for (const [headSha, { status: stands, lastSeenAtMs }] of this.#known)
      if (stands !== 'acquired' && stands !== 'success' && nowMs - lastSeenAtMs > this.#options.ttlMs)
        this.#known.delete(headSha);
    return request;
  }

  /** Steps 4 to 7. */
  #evaluate(request: Known, nowMs: number): ReferenceContext {
    const { windowMs, expectedCount } = this.#options;
    if (this.#acquired?.status === 'completed') {
      this.#known.delete(request.headSha);
      return this.#context({ ...request, status: 'completed' });
    }
    if (this.#acquired?.status === 'acquired') return this.#context(request);
    const isWindowOver = nowMs - this.#lastUpdatedAtMs >= windowMs;
    if (this.#acquired === null && !isWindowOver && this.#known.size < expectedCount) return this.#context(request);
    if (Math.max(...this.#priorities()) > request.priority) return this.#context(request);
    if (request.delaysLeft > 0) {
      request.delaysLeft -= 1;
      return this.#context(request);
    }
    request.status = 'acquired';
    this.#acquired = request;
    return this.#context(request);
  }

  #context({ headSha, headRef, priority, status }: Known): ReferenceContext {
    const request = { head_sha: headSha, head_ref: headRef, priority, status };
    if (status !== 'acquired') return { request };
    const stacked = this.#ascending().filter((other) => other.priority <= priority);
    const numberOf = (ref: string) => Number(/\/pr-(\d+)-/.exec(ref)?.[1]);
    return { request, stacked_pull_requests: stacked.map((other) => ({ number: numberOf(other.headRef) })) };
  }

  #ascending(): Known[] {
    return [...this.#known.values()].toSorted((a, b) => a.priority - b.priority);
  }

  #priorities(): number[] {
    return [...this.#known.values()].map(({ priority }) => priority);
  }
}
