/**
 * The one HTTP client of all HTTP contenders: keep-alive sockets, one request at a time on each. node:http's client costs
 * more CPU a request than the servers measured, and both share the machine's cores. Plain http:// only.
 */
import { connect, type Socket } from 'node:net';

export interface HttpAnswer {
  readonly status: number;
  readonly body: string;
}

export interface HttpLoad {
  /** Sends JSON on one of the connections. Rejects if it breaks; throws if its answer before is still awaited. */
  post(connection: number, path: string, body: string): Promise<HttpAnswer>;
  /** Breaks all connections; answers still awaited reject. */
  close(): void;
}

/** Connections `0` to `connections - 1`, each opened by its first request, and again if the server closed it in between. */
export function openHttpLoad(
  baseUrl: string,
  connections: number,
  headers: Readonly<Record<string, string>> = {},
): HttpLoad {
  const { hostname, port, host, pathname } = new URL(baseUrl);
  const prefix = pathname === '/' ? '' : pathname;
  const extra = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  const head = ` HTTP/1.1\r\nhost: ${host}\r\ncontent-type: application/json\r\n${extra.join('')}content-length: `;
  const address = { host: hostname, port: Number(port === '' ? 80 : port) };
  const all = Array.from({ length: connections }, () => new Connection(address));
  return {
    post: (connection, path, body) => {
      const chosen = all[connection];
      if (chosen === undefined) throw new RangeError(`connection ${connection} of ${connections}`);
      return chosen.send(`POST ${prefix}${path}${head}${Buffer.byteLength(body)}\r\n\r\n${body}`);
    },
    close: () => {
      for (const connection of all) connection.close();
    },
  };
}

class Connection {
  readonly #address: { readonly host: string; readonly port: number };
  #socket: Socket | undefined;
  /** Of an answer that has not come whole yet. */
  #received: Buffer | undefined;
  #awaited: PromiseWithResolvers<HttpAnswer> | undefined;

  constructor(address: { readonly host: string; readonly port: number }) {
    this.#address = address;
  }

  send(request: string): Promise<HttpAnswer> {
    if (this.#awaited !== undefined) throw new Error('a connection takes one request at a time');
    const awaited = (this.#awaited = Promise.withResolvers<HttpAnswer>());
    (this.#socket ??= this.#open()).write(request);
    return awaited.promise;
  }

  close(): void {
    this.#socket?.destroy();
    this.#broken(new Error('closed'));
  }

  #open(): Socket {
    const socket = connect({ ...this.#address, noDelay: true });
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    // A socket given up before may still end; that says nothing about the one after it.
    const end = (reason: Error) => {
      if (this.#socket === socket) this.#broken(reason);
    };
    socket.on('error', end);
    socket.on('close', () => end(new Error('the server closed the connection')));
    return socket;
  }

  #take(chunk: Buffer): void {
    const bytes = this.#received === undefined ? chunk : Buffer.concat([this.#received, chunk]);
    try {
      const answer = parseAnswer(bytes);
      this.#received = answer === undefined ? bytes : undefined;
      if (answer === undefined) return;
      const awaited = this.#awaited;
      if (awaited === undefined) throw new Error('an answer that nobody asked for');
      this.#awaited = undefined;
      if (answer.isLast) {
        this.#socket?.destroy();
        this.#socket = undefined;
      }
      awaited.resolve(answer);
    } catch (error) {
      this.#socket?.destroy();
      this.#broken(error);
    }
  }

  #broken(reason: unknown): void {
    this.#socket = undefined;
    this.#received = undefined;
    this.#awaited?.reject(reason);
    this.#awaited = undefined;
  }
}

interface ParsedAnswer extends HttpAnswer {
  /** The server closes the connection after it. */
  readonly isLast: boolean;
}

const withoutBody = new Set([204, 304]);

/** The one answer these bytes are, undefined while more must come. Throws on what no answer to a POST looks like. */
function parseAnswer(bytes: Buffer): ParsedAnswer | undefined {
  const headEnd = bytes.indexOf('\r\n\r\n');
  if (headEnd === -1) return undefined;
  const head = bytes.toString('latin1', 0, headEnd);
  // "HTTP/1.1 200 OK"
  const status = Number(head.slice(9, 12));
  const isLast = /\r\nconnection: *close/i.test(head);
  const start = headEnd + 4;
  const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
  if (length !== undefined || withoutBody.has(status)) {
    const end = start + Number(length ?? 0);
    if (bytes.length < end) return undefined;
    if (bytes.length > end) throw new Error('more bytes than the answer has');
    return { status, isLast, body: bytes.toString('utf8', start, end) };
  }
  if (!/\r\ntransfer-encoding: *chunked/i.test(head)) throw new Error(`an answer without its length: ${head}`);
  const body = joinChunks(bytes, start);
  return body === undefined ? undefined : { status, isLast, body };
}

/** The body of a chunked answer without trailers, undefined while more must come. */
function joinChunks(bytes: Buffer, start: number): string | undefined {
  const parts: Buffer[] = [];
  for (let at = start; ;) {
    const lineEnd = bytes.indexOf('\r\n', at);
    if (lineEnd === -1) return undefined;
    // parseInt stops at an extension's semicolon.
    const size = Number.parseInt(bytes.toString('latin1', at, lineEnd), 16);
    if (!(size >= 0)) throw new Error('a chunk without its size');
    const end = lineEnd + 2 + size;
    if (bytes.length < end + 2) return undefined;
    if (size === 0) return Buffer.concat(parts).toString();
    parts.push(bytes.subarray(lineEnd + 2, end));
    at = end + 2;
  }
}
