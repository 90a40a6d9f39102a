import { once } from 'node:events';
import { type Socket, connect } from 'node:net';
import type { AddressInfo } from 'node:net';
import type { HttpServer } from '../../src/http/server.ts';

export interface RawConnection {
  readonly socket: Socket;
  /** Everything received so far. */
  received(): string;
  /** Resolves with everything received once it contains `text`; rejects if the connection ends without it. */
  until(text: string): Promise<string>;
  /** Resolves with everything received when the server has closed the connection. */
  closed(): Promise<string>;
}

/** A bare TCP connection to a listening server, for what no HTTP client would send. */
export async function rawConnection(app: HttpServer): Promise<RawConnection> {
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1');
  let text = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  // A reset shows as 'close' too, which is what the tests wait for.
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  return {
    socket,
    received: () => text,
    until: async (wanted) => {
      while (!text.includes(wanted)) {
        if (socket.closed) throw new Error(`connection ended after: ${text}`);
        await Promise.race([once(socket, 'data'), once(socket, 'close')]);
      }
      return text;
    },
    closed: async () => {
      if (!socket.closed) await once(socket, 'close');
      return text;
    },
  };
}

export function requestText(method: string, path: string, body?: unknown): string {
  const text = body === undefined ? '' : JSON.stringify(body);
  const headers = body === undefined ? '' : `content-type: application/json\r\ncontent-length: ${text.length}\r\n`;
  return `${method} ${path} HTTP/1.1\r\nhost: x\r\n${headers}\r\n${text}`;
}
