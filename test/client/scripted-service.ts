import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Asked {
  readonly method: string;
  readonly url: string;
  readonly body: Record<string, unknown> | undefined;
  readonly headers: IncomingMessage['headers'];
  /** performance.now() of the arrival. */
  readonly atMs: number;
  /** Aborts when the request is answered or its client has hung up. */
  readonly gone: AbortSignal;
}

/** What to do with one request. */
export type Answer =
  | { readonly status: number; readonly body: unknown; readonly headers?: Readonly<Record<string, string>> }
  /** Closes the connection without an answer. */
  | 'hang up'
  /** Never answers. */
  | 'silence';

/** A service that answers what a test says, request by request, and remembers what it was asked. */
export class ScriptedService implements AsyncDisposable {
  readonly asked: Asked[] = [];
  readonly #server: Server;
  #answer: (asked: Asked, number: number) => Answer | Promise<Answer> = () => 'silence';

  private constructor(server: Server) {
    this.#server = server;
    server.on('request', (request, response) => this.#serve(request, response));
  }

  static async start(answer: (asked: Asked, number: number) => Answer | Promise<Answer>): Promise<ScriptedService> {
    const service = new ScriptedService(createServer());
    service.#answer = answer;
    await new Promise<void>((resolve) => service.#server.listen(0, '127.0.0.1', resolve));
    return service;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    const atMs = performance.now();
    let text = '';
    request.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
    const gone = new AbortController();
    response.on('close', () => gone.abort());
    request.on('end', () => {
      const asked: Asked = {
        method: request.method ?? '',
        url: request.url ?? '',
        headers: request.headers,
        body: text === '' ? undefined : (JSON.parse(text) as Record<string, unknown>),
        atMs,
        gone: gone.signal,
      };
      this.asked.push(asked);
      void Promise.resolve(this.#answer(asked, this.asked.length)).then((answer) => send(answer, request, response));
    });
  }
}

function send(answer: Answer, request: IncomingMessage, response: ServerResponse): void {
  if (answer === 'hang up') request.socket.destroy();
  else if (answer !== 'silence') {
    const type = answer.status < 400 ? 'application/json' : 'application/problem+json';
    response.writeHead(answer.status, { 'content-type': type, ...answer.headers });
    response.end(typeof answer.body === 'string' ? answer.body : JSON.stringify(answer.body));
  }
}

export function problem(status: number, code: string, extra: object = {}): Answer {
  return { status, body: { type: `urn:signalbox:error:${code}`, title: code, status, code, detail: code, ...extra } };
}

/** A lease as acquire answers it. */
export function aHeldClaim(change: object = {}): Record<string, unknown> {
  return {
    state: 'held',
    queue: 'q',
    claim_id: 'c',
    holder: 'h',
    fencing_token: 7,
    slot: 1,
    ttl_ms: 1200,
    ttl_remaining_ms: 1200,
    waited_ms: 0,
    renew_after_ms: 400,
    release_requested: false,
    ...change,
  };
}
