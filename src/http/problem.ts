import { randomUUID } from 'node:crypto';
import type { FastifyReply } from 'fastify';
import { z } from 'zod';
import { withoutSecrets } from '../protocol/access.ts';
import { type ErrorCode, SignalboxError, errorCatalogue } from '../protocol/errors.ts';

export const problemMediaType = 'application/problem+json';

/** On every answer: nothing here may be cached, nothing may be guessed to be another type. */
export const fixedHeaders = { 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' } as const;

/** One thing wrong with a request: `in` is body, query, path or headers; `path` is a JSON pointer inside that. */
export const RequestFault = z.object({ in: z.string(), path: z.string(), message: z.string() });
export type RequestFault = z.infer<typeof RequestFault>;

/** RFC 9457, as documented in OpenAPI; `code` is what clients branch on. */
export const ProblemDocument = z.looseObject({
  type: z.string().meta({ description: 'urn:signalbox:error:<code>' }),
  title: z.string(),
  status: z.int().min(400).max(599),
  code: z.enum(Object.keys(errorCatalogue) as ErrorCode[]),
  detail: z.string(),
  instance: z.string().optional().meta({ description: 'Names this occurrence in the log of the service.' }),
  retry_after_ms: z.number().min(0).optional().meta({ description: 'The header Retry-After has it in whole seconds.' }),
  errors: z.array(RequestFault).optional().meta({ description: 'With invalid_request: all that is wrong.' }),
});

/** The body of a problem document. `extra` of the error may add members, never replace the fixed ones. */
export function problemOf(error: SignalboxError): Record<string, unknown> {
  const fixed = {
    type: `urn:signalbox:error:${error.code}`,
    title: errorCatalogue[error.code].title,
    status: error.status,
    code: error.code,
    detail: error.message,
  };
  const retry = error.retryAfterMs === undefined ? {} : { retry_after_ms: error.retryAfterMs };
  return { ...fixed, ...error.extra, ...retry, ...fixed };
}

/** The same as an object, without what looks like a token: one sent in the wrong place, as a name or a field, is not echoed. */
export function problemWithoutSecrets(error: SignalboxError): Record<string, unknown> {
  const problem = problemOf(error);
  const text = JSON.stringify(problem);
  const shown = withoutSecrets(text);
  return shown === text ? problem : (JSON.parse(shown) as Record<string, unknown>);
}

/** Retry-After knows whole seconds only; less than one would invite an immediate retry. */
export function retryAfterSeconds(retryAfterMs: number): number {
  return Math.max(1, Math.ceil(retryAfterMs / 1000));
}

/** Sends `error` as the answer. The body is made here, so no serializer of a route ever sees it. */
export function sendProblem(reply: FastifyReply, error: SignalboxError): FastifyReply {
  reply.request.problemCode = error.code;
  if (error.code === 'unauthenticated') reply.header('www-authenticate', 'Bearer realm="signalbox"');
  if (error.retryAfterMs !== undefined) reply.header('retry-after', retryAfterSeconds(error.retryAfterMs));
  return (
    reply
      .code(error.status)
      .headers(fixedHeaders)
      .header('content-type', problemMediaType)
      // As bytes: to text of a JSON type fastify adds a charset, which application/problem+json does not have.
      // A token sent in the wrong place, as a name or a field, is not echoed.
      .send(Buffer.from(withoutSecrets(JSON.stringify(problemOf(error)))))
  );
}

/** What the framework itself refuses, by its code. Absent: a defect of ours. */
const frameworkErrors: Readonly<Record<string, ErrorCode>> = {
  FST_ERR_BAD_URL: 'invalid_request',
  FST_ERR_MAX_PARAM_LENGTH: 'uri_too_long',
  FST_ERR_CTP_BODY_TOO_LARGE: 'body_too_large',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'unsupported_media_type',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'invalid_request',
  FST_ERR_CTP_INVALID_JSON_BODY: 'invalid_json',
};

const frameworkDetails: Readonly<Record<string, string>> = {
  FST_ERR_BAD_URL: 'The URL is not correctly percent-encoded.',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'The body is not as long as Content-Length says.',
};

const readDetails: Partial<Readonly<Record<ErrorCode, string>>> = {
  database_unavailable: 'The database cannot be reached.',
  database_timeout: 'The database did not answer in time.',
};

/** The same error for a call that only reads: nothing of it could have taken effect, so nothing is unknown. */
export function problemOfRead(error: SignalboxError): SignalboxError {
  const { code, extra, retryAfterMs, cause } = error;
  const detail = readDetails[code];
  if (detail === undefined || error.message !== errorCatalogue[code].title) return error;
  return new SignalboxError(code, { detail, extra, cause, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) });
}

/**
 * The error as one of the catalogue. Anything unknown becomes `internal_error`: its cause stays in `cause` for the log,
 * and `instance` ties the answer to that log line; nothing of it goes to the client.
 */
export function toSignalboxError(error: unknown): SignalboxError {
  if (error instanceof SignalboxError) return error;
  const frameworkCode = error instanceof Error && 'code' in error ? String(error.code) : '';
  const code = frameworkErrors[frameworkCode];
  if (code !== undefined) {
    const detail = frameworkDetails[frameworkCode];
    return new SignalboxError(code, { cause: error, ...(detail === undefined ? {} : { detail }) });
  }
  return new SignalboxError('internal_error', {
    detail: 'The service met a defect of its own. Its log has the cause under this instance.',
    extra: { instance: `urn:uuid:${randomUUID()}` },
    cause: error,
  });
}
