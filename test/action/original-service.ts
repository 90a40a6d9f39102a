import { type Server, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

interface Call {
  readonly head_sha: string;
  readonly head_ref: string;
  readonly priority: number;
  readonly status?: string;
}

/** Answers as mq-lease-service does, to one build: pending to its first poll, then the lease. */
export class OriginalService implements AsyncDisposable {
  readonly url: string;
  /** What releases wanted to report, refused ones included. */
  readonly released: string[] = [];
  readonly pollGapsMs: number[] = [];
  readonly #server: Server;
  #lastPollAtMs: number | undefined;

  private constructor(server: Server) {
    this.#server = server;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  static async start(): Promise<OriginalService> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const service = new OriginalService(server);
    server.on('request', (request, response) => {
      let body = '';
      request.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
      request.on('end', () => {
        const [status, answer] = service.#answer(request.url ?? '', JSON.parse(body) as Call);
        response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
      });
    });
    return service;
  }

  #answer(path: string, { head_sha, head_ref, priority, status = '' }: Call): [number, unknown] {
    const request = (state: string) => ({ request: { head_sha, head_ref, priority, status: state } });
    if (path.endsWith('/acquire')) {
      const nowMs = performance.now();
      const beforeMs = this.#lastPollAtMs;
      this.#lastPollAtMs = nowMs;
      if (beforeMs === undefined) return [200, request('pending')];
      this.pollGapsMs.push(nowMs - beforeMs);
      return [200, { ...request('acquired'), stacked_pull_requests: [{ number: 1 }] }];
    }
    this.released.push(status);
    if (status === 'success' || status === 'failure')
      return [200, request(status === 'success' ? 'completed' : status)];
    const context = [{ failed_field: 'releaseRequest.Status', tag: 'oneof', value: 'success failure' }];
    return [400, { error: 'Invalid request', error_context: context }];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
