import type { FastifyReply, FastifyRequest } from 'fastify';
import { withoutSecrets } from '../../protocol/access.ts';
import { type ErrorCode, type SignalboxError, errorCatalogue } from '../../protocol/errors.ts';
import { fixedHeaders, retryAfterSeconds } from '../problem.ts';
import { type WireError, unknownProvider } from './refusals.ts';

export const textMediaType = 'text/plain; charset=utf-8';

/** When to try again what failed for want of the database or of room, unless something better is known. */
const retryAfterMsElse = 1000;

const methodsInOrder = ['GET', 'HEAD', 'POST', 'DELETE'];

/** As bytes: to text of a JSON type fastify adds a charset, which the original does not send. */
export function sendJson(reply: FastifyReply, status: number, body: unknown): FastifyReply {
  return reply
    .code(status)
    .header('content-type', 'application/json')
    .send(Buffer.from(JSON.stringify(body)));
}

/** `code`: what the log calls it. Tokens sent in the wrong place are not echoed. */
export function sendError(
  reply: FastifyReply,
  status: number,
  body: WireError,
  { code, retryAfterMs }: { code: string; retryAfterMs: number | null },
): FastifyReply {
  reply.request.problemCode = code;
  if (retryAfterMs !== null) reply.header('retry-after', retryAfterSeconds(retryAfterMs));
  return reply
    .code(status)
    .headers(fixedHeaders)
    .header('content-type', 'application/json')
    .send(Buffer.from(withoutSecrets(JSON.stringify(body))));
}

/** The path names no merge queue there is, or none there can be. */
export function sendUnknownProvider(reply: FastifyReply): FastifyReply {
  return sendError(reply, 404, unknownProvider, { code: 'merge_queue_not_found', retryAfterMs: null });
}

function escapeHtml(text: string): string {
  const escapes: Readonly<Record<string, string>> = {
    '&': '&amp;',
    '<': '&lt;',
    '>': '&gt;',
    '"': '&#34;',
    "'": '&#39;',
  };
  return text.replace(/[&<>"']/g, (character) => escapes[character] ?? '');
}

/** What the original says in plain text; it says the rest in JSON, or never. */
const plainTexts: Readonly<Partial<Record<ErrorCode, (request: FastifyRequest) => string>>> = {
  unauthenticated: () => 'Unauthorized',
  route_not_found: ({ method, originalUrl }) =>
    `Cannot ${method} ${escapeHtml(originalUrl.split('?', 1)[0] ?? originalUrl)}`,
  method_not_allowed: () => 'Method Not Allowed',
  body_too_large: () => 'Request Entity Too Large',
};

/** Answers one of our errors as mq-lease-service would. */
export function sendAsOriginal(request: FastifyRequest, reply: FastifyReply, error: SignalboxError): FastifyReply {
  const { code, status } = error;
  reply.headers(fixedHeaders);
  const text = plainTexts[code]?.(request);
  if (text === undefined) {
    const retryAfterMs = error.retryAfterMs ?? (status === 503 ? retryAfterMsElse : null);
    const body: WireError = { error: errorCatalogue[code].title, error_context: error.message, code };
    return sendError(reply, status, body, { code, retryAfterMs });
  }
  request.problemCode = code;
  if (code === 'unauthenticated') reply.header('www-authenticate', 'basic realm=Restricted');
  const allow = reply.getHeader('allow');
  if (typeof allow === 'string') {
    const methods = allow.split(', ');
    reply.header('allow', methodsInOrder.filter((method) => methods.includes(method)).join(', '));
  }
  return reply.code(status).header('content-type', textMediaType).send(withoutSecrets(text));
}
