import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A server that is always ready and does the same with every call, after it has read all of it. */
export class RawServer implements AsyncDisposable {
  /** Bodies of the calls, whatever became of them. */
  readonly bodies: string[] = [];
  readonly url: string;
  readonly #server: Server;

  private constructor(server: Server, url: string) {
    this.#server = server;
    this.url = url;
  }

  static async start(does: 'breaks off' | '503' | '200'): Promise<RawServer> {
    const server = createServer((request, response) => {
      if (request.method === 'GET') {
        response.end('{}');
        return;
      }
      let body = '';
      request.setEncoding('utf8').on('data', (chunk: string) => {
        body += chunk;
      });
      request.on('end', () => {
        raw.bodies.push(body);
        if (does === 'breaks off') request.socket.resetAndDestroy();
        else response.writeHead(Number(does)).end('{}');
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const raw = new RawServer(server, `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    return raw;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
