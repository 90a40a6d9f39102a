import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { ConnectionError } from 'fastify';
import { type ErrorCode, SignalboxError } from '../protocol/errors.ts';
import { fixedHeaders, problemMediaType, problemOf } from './problem.ts';

/**
 * Node tells only that request line and headers together were too long; the packet shows which of them it was. (fastify
 * types the packet as its JSON form; it is a Buffer.)
 */
function isLongUrl(packet: unknown, urlBytesMax: number): boolean {
  if (!Buffer.isBuffer(packet)) return false;
  const lineEnd = packet.indexOf('\r\n');
  return (lineEnd === -1 ? packet.length : lineEnd) > urlBytesMax;
}

function codeOf(error: ConnectionError, urlBytesMax: number): ErrorCode {
  if (error.code === 'HPE_HEADER_OVERFLOW')
    return isLongUrl(error.rawPacket, urlBytesMax) ? 'uri_too_long' : 'headers_too_large';
  if (error.code === 'HPE_CHUNK_EXTENSIONS_OVERFLOW') return 'body_too_large';
  if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT') return 'request_timeout';
  return 'invalid_request';
}

/**
 * Answers what Node's HTTP parser refuses before there is a request: written to the bare socket, which is then closed.
 * A socket that is gone, or already has an answer on it, is only destroyed.
 */
export function answerClientErrors({ urlBytesMax }: { urlBytesMax: number }) {
  return (error: ConnectionError, socket: Socket): void => {
    const answer = (socket as Socket & { _httpMessage?: { headersSent: boolean } | null })._httpMessage;
    if (error.code === 'ECONNRESET' || !socket.writable || answer?.headersSent === true) {
      socket.destroy();
      return;
    }
    const code = codeOf(error, urlBytesMax);
    const problem = new SignalboxError(
      code,
      code === 'invalid_request' ? { detail: 'This is not a well-formed HTTP/1.1 request.' } : {},
    );
    const body = JSON.stringify(problemOf(problem));
    const headers = {
      ...fixedHeaders,
      'content-type': problemMediaType,
      'content-length': Buffer.byteLength(body),
      connection: 'close',
    };
    const head = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    socket.end(`HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status] ?? ''}\r\n${head.join('')}\r\n${body}`);
  };
}
