import { type Server, createServer, request as ask } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Instead {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** An object is sent as JSON. */
  readonly body?: unknown;
}

/** Stands between the action and the service: calls arrive, and what was answered may be lost on the way back. */
export class AnswerDropper implements AsyncDisposable {
  readonly url: string;
  /** Path and body of each call that arrived. */
  readonly calls: { readonly path: string; readonly body: Readonly<Record<string, unknown>> }[] = [];
  /** Asked when an answer has come from the service. lose: the connection is cut. keep: nothing happens any more. */
  fate: (path: string, status: number) => 'pass' | 'lose' | 'keep' = () => 'pass';
  /** Asked when a call arrives: what it is answered with instead of asking the service. */
  instead: (path: string) => Instead | undefined = () => undefined;
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  static async before(target: string): Promise<AnswerDropper> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const dropper = new AnswerDropper(server);
    server.on('request', (incoming, outgoing) => {
      const path = incoming.url ?? '';
      let body = '';
      incoming.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
      incoming.on('end', () => {
        dropper.calls.push({ path, body: JSON.parse(body) as Record<string, unknown> });
        const instead = dropper.instead(path);
        if (instead !== undefined) {
          const { body: said = '', status } = instead;
          outgoing.writeHead(status, instead.headers).end(typeof said === 'string' ? said : JSON.stringify(said));
          return;
        }
        const { method, headers } = incoming;
        const upstream = ask(target + path, { method, headers, agent: false }, (answer) => {
          const fate = dropper.fate(path, answer.statusCode ?? 0);
          if (fate !== 'pass') {
            answer.resume();
            if (fate === 'lose') incoming.socket.destroy();
            return;
          }
          outgoing.writeHead(answer.statusCode ?? 0, answer.headers);
          answer.pipe(outgoing);
        });
        upstream.on('error', () => incoming.socket.destroy());
        outgoing.on('close', () => upstream.destroy());
        upstream.end(body);
      });
    });
    return dropper;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
