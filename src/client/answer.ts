import { type ErrorCode, SignalboxError, errorCatalogue } from '../protocol/errors.ts';
import { ServiceUnreachableError, UnknownRefusalError } from './errors.ts';

const fixedMembers = new Set(['type', 'title', 'status', 'code', 'detail', 'retry_after_ms', 'error', 'error_context']);

/** The body of a good answer; a refusal is thrown as `SignalboxError` with code, extra members and retryAfterMs. */
export async function readAnswer(response: Response): Promise<unknown> {
  const { status } = response;
  const body = parsed(await response.text());
  if (status < 300 && body !== undefined) return body;
  throw refusalOf(status, body, response.headers.get('retry-after'));
}

/** What a call that was not answered well is thrown as. */
export type CallError = SignalboxError | ServiceUnreachableError | UnknownRefusalError;

/** The error that a problem document is thrown as, or, in a batch, stands for. */
export function refusalOf(
  status: number,
  body: Readonly<Record<string, unknown>> | undefined,
  retryAfterHeader: string | null = null,
): CallError {
  if (typeof body?.['code'] !== 'string') {
    // What the interface of mq-lease-service answers has no code.
    if (status === 401) return new SignalboxError('unauthenticated');
    if (status === 404 && body?.['error'] === 'unknown provider') return new SignalboxError('merge_queue_not_found');
    return new ServiceUnreachableError(`what answers (${status}) is not Signalbox`, { status });
  }
  const detail = [body['detail'], body['error_context']].find((text) => typeof text === 'string') ?? body['code'];
  if (!isErrorCode(body['code'])) {
    if (status >= 500) return new ServiceUnreachableError(detail, { status });
    return new UnknownRefusalError(detail, { status, code: body['code'] });
  }
  const retryAfterMs = retryAfter(body['retry_after_ms'], retryAfterHeader);
  return new SignalboxError(body['code'], {
    detail,
    extra: Object.fromEntries(Object.entries(body).filter(([name]) => !fixedMembers.has(name))),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
}

/**
 * Whether asking again may help soon: no answer, one that blames the service itself, or that the request came too slowly. The
 * end of a quarantine may be minutes away: who does not wait in line is told at once.
 */
export function isTransient(error: unknown): error is ServiceUnreachableError | SignalboxError {
  if (error instanceof ServiceUnreachableError) return true;
  if (!(error instanceof SignalboxError) || error.code === 'quarantined') return false;
  return error.status >= 500 || error.code === 'request_timeout';
}

function parsed(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(errorCatalogue, code);
}

function retryAfter(exactMs: unknown, header: string | null): number | undefined {
  if (typeof exactMs === 'number' && exactMs >= 0) return exactMs;
  return header !== null && /^\d{1,6}$/.test(header) ? Number(header) * 1000 : undefined;
}
