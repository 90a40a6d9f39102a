import { backoffMs } from '../runtime/backoff.ts';
import { systemClock } from '../runtime/clock.ts';
import { Pause } from '../runtime/pause.ts';
import { isTransient, readAnswer } from './answer.ts';
import { ServiceUnreachableError } from './errors.ts';

export interface RetryOptions {
  /** How often a call is sent at most; 1 = never again. */
  readonly attempts: number;
  /** Jittered exponential backoff between two attempts, in ms. A longer Retry-After is obeyed. */
  readonly firstMs: number;
  readonly maxMs: number;
}

export interface CallOptions {
  /** Ends the call at once with the signal's reason. What was sent may take effect nevertheless. */
  readonly signal?: AbortSignal | undefined;
  /** How long one attempt may take, in ms; a long-poll has its `wait_ms` on top. */
  readonly timeoutMs?: number;
  readonly retry?: Partial<RetryOptions>;
  /** Told the monotonic time (ms) at which each attempt is sent: a lease counts from the one that was answered. */
  readonly onSend?: (sentAtMs: number) => void;
}

export interface HttpCallsOptions {
  readonly url: string;
  readonly token?: string | undefined;
  readonly timeoutMs: number;
  readonly retry: RetryOptions;
}

export interface HttpCall {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** Below the service's URL, no slash in front. */
  readonly path: string;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly waitMs?: number;
  /** false: a second execution could answer otherwise than the first. */
  readonly isIdempotent?: boolean;
}

export interface GoodAnswer {
  readonly status: number;
  readonly body: unknown;
}

/** Sends calls, each attempt with its own time limit, and repeats what may be repeated. */
export class HttpCalls {
  readonly #options: HttpCallsOptions;
  readonly #base: URL;

  /** Throws a TypeError, which shows neither, for a token that cannot be a header and a URL that holds a password. */
  constructor(options: HttpCallsOptions) {
    if (options.token !== undefined && !isSendable(options.token)) {
      throw new TypeError('the token must be one line of printable characters without spaces; it is not shown here');
    }
    const { username, password } = new URL(options.url);
    if (username !== '' || password !== '') {
      throw new TypeError('the URL of the service must not hold a user or password; it is not shown here');
    }
    this.#options = options;
    this.#base = new URL(options.url.endsWith('/') ? options.url : `${options.url}/`);
  }

  /** The parsed body of the first good answer. Throws `SignalboxError`, `ServiceUnreachableError`, or the signal's reason. */
  async send(call: HttpCall, options?: CallOptions): Promise<unknown> {
    return (await this.exchange(call, options)).body;
  }

  /** As `send`, with the status of the answer. */
  async exchange(call: HttpCall, options: CallOptions = {}): Promise<GoodAnswer> {
    // Before anything is sent: what JSON cannot write is the caller's mistake, no failure of the service.
    const text = call.body === undefined ? undefined : JSON.stringify(call.body);
    const once = () => this.#attempt(call, text, options);
    return call.isIdempotent === false ? once() : this.repeat(once, options);
  }

  /** Does `once` until it does not throw, again with backoff as long as what it throws is transient and attempts are left. */
  async repeat<T>(once: () => Promise<T>, options: CallOptions): Promise<T> {
    const retry = { ...this.#options.retry, ...options.retry };
    for (let attempt = 0; ; attempt++) {
      try {
        return await once();
      } catch (error) {
        options.signal?.throwIfAborted();
        if (!isTransient(error) || attempt + 1 >= retry.attempts) throw error;
        const asked = 'retryAfterMs' in error ? (error.retryAfterMs ?? 0) : 0;
        await new Pause().wait(Math.max(asked, backoffMs(attempt, retry)), options.signal ?? neverAborted);
        options.signal?.throwIfAborted();
      }
    }
  }

  async #attempt(
    { method, path, headers, waitMs = 0 }: HttpCall,
    body: string | undefined,
    options: CallOptions,
  ): Promise<GoodAnswer> {
    const timeoutMs = (options.timeoutMs ?? this.#options.timeoutMs) + waitMs;
    const timeout = AbortSignal.timeout(timeoutMs);
    options.signal?.throwIfAborted();
    options.onSend?.(systemClock.monotonicMs());
    try {
      const response = await fetch(new URL(path, this.#base), {
        method,
        // A redirect could carry the token elsewhere.
        redirect: 'error',
        headers: {
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...(this.#options.token === undefined ? {} : { authorization: `Bearer ${this.#options.token}` }),
          ...headers,
        },
        signal: options.signal === undefined ? timeout : AbortSignal.any([options.signal, timeout]),
        ...(body === undefined ? {} : { body }),
      });
      return { status: response.status, body: await readAnswer(response) };
    } catch (error) {
      if (timeout.aborted) {
        throw new ServiceUnreachableError(`${this.#base.origin} did not answer within ${timeoutMs} ms`, {
          cause: error,
        });
      }
      // What fetch throws for a connection that fails; the reason is in its cause.
      if (error instanceof TypeError) {
        throw new ServiceUnreachableError(`${this.#base.origin} cannot be reached: ${reasonOf(error)}`, {
          cause: error,
        });
      }
      throw error;
    }
  }
}

/** What may follow `Bearer ` in a header. */
export function isSendable(token: string): boolean {
  return /^[\x21-\x7e]+$/.test(token);
}

const neverAborted = new AbortController().signal;

function reasonOf(error: Error): string {
  const { cause } = error;
  if (!(cause instanceof Error)) return error.message;
  return cause.message === '' && 'code' in cause ? String(cause.code) : cause.message;
}
