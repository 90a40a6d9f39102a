import { toldMs } from './time-limit.ts';

export interface HttpCall {
  readonly method: 'GET' | 'POST';
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: unknown;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

export type HttpOutcome =
  | {
      readonly kind: 'answered';
      readonly status: number;
      /** Undefined where the answer is no JSON object. */
      readonly json: Readonly<Record<string, unknown>> | undefined;
      readonly text: string;
      readonly headers: Headers;
      /** What Retry-After says, within reason. */
      readonly retryAfterMs: number | undefined;
    }
  /** Nothing, or not all of it, came back: whether the call had its effect is unknown. */
  | { readonly kind: 'failed'; readonly why: string };

/** One call, no repeats. Throws only the reason of `signal`. */
export async function httpCall(call: HttpCall): Promise<HttpOutcome> {
  const { signal, timeoutMs } = call;
  const timeout = AbortSignal.timeout(timeoutMs);
  try {
    const response = await fetch(call.url, {
      method: call.method,
      headers: {
        'user-agent': 'signalbox-action',
        ...(call.body === undefined ? {} : { 'content-type': 'application/json' }),
        ...call.headers,
      },
      ...(call.body === undefined ? {} : { body: JSON.stringify(call.body) }),
      // A followed redirect would turn a POST into a GET, and take the credentials to where nobody meant them to go.
      redirect: 'manual',
      signal: AbortSignal.any([signal, timeout]),
    });
    const text = await response.text();
    const { status, headers } = response;
    return { kind: 'answered', status, text, headers, json: jsonObject(text), retryAfterMs: retryAfterMs(headers) };
  } catch (error) {
    signal.throwIfAborted();
    return { kind: 'failed', why: timeout.aborted ? `no answer within ${timeoutMs / 1000} s` : reasonOf(error) };
  }
}

function jsonObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Readonly<Record<string, unknown>>)
      : undefined;
  } catch {
    return undefined;
  }
}

/** Seconds, or a date: that is compared with the server's own clock, not with ours. */
function retryAfterMs(headers: Headers): number | undefined {
  const text = headers.get('retry-after')?.trim() ?? '';
  if (/^\d+$/.test(text)) return toldMs(Number(text) * 1000);
  // Each form of a date in HTTP begins with the day of the week; Date.parse alone takes -5 and 1.5 for dates.
  if (!/^(mon|tue|wed|thu|fri|sat|sun)/i.test(text)) return undefined;
  return toldMs(Math.max(0, Date.parse(text) - Date.parse(headers.get('date') ?? '')));
}

/** fetch hides why it failed in the cause. */
function reasonOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  if (!(cause instanceof Error)) return String(cause);
  const code = 'code' in cause && typeof cause.code === 'string' ? cause.code : undefined;
  return [cause.message, code].filter((it) => it !== undefined && it !== '').join(', ');
}
