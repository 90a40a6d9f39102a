import { type Server, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface ApiFailure {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly message?: string;
  /** The connection is cut instead. */
  readonly cut?: boolean;
}

/** A local stand-in for the one call of GitHub's API that the action makes: compare. */
export class GithubApi implements AsyncDisposable {
  readonly url: string;
  readonly calls: { readonly path: string; readonly authorization: string | undefined }[] = [];
  /** Given out first, one a call. */
  readonly failures: ApiFailure[] = [];
  readonly #aheadBy = new Map<string, number>();
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  static async start(): Promise<GithubApi> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const api = new GithubApi(server);
    server.on('request', (request, response) => {
      api.calls.push({ path: request.url ?? '', authorization: request.headers.authorization });
      const failure = api.failures.shift();
      if (failure?.cut === true) {
        request.socket.destroy();
        return;
      }
      const [, head = ''] = /^\/repos\/[^/]+\/[^/]+\/compare\/[^/]+\.\.\.([^/]+)$/.exec(request.url ?? '') ?? [];
      const aheadBy = api.#aheadBy.get(head);
      const { status, headers, message } =
        failure ?? (aheadBy === undefined ? { status: 404, message: 'Not Found' } : { status: 200 });
      response.writeHead(status, { 'content-type': 'application/json; charset=utf-8', ...headers });
      response.end(JSON.stringify(status === 200 ? { status: 'ahead', ahead_by: aheadBy, behind_by: 0 } : { message }));
    });
    return api;
  }

  /** A commit, and how many commits it is ahead of the base branch. */
  knows(headSha: string, aheadBy: number): void {
    this.#aheadBy.set(headSha, aheadBy);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
