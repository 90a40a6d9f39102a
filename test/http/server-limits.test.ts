import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, expect, it } from 'vitest';
import { freshDatabase } from '../support/database.ts';
import { anId } from '../support/http-client.ts';
import { startTestApp } from '../support/test-app.ts';
import { rawConnection, requestText } from './raw-connection.ts';
import { type RecordingServer, recordingServer } from './recording-server.ts';

// Body, URL, headers, slow requests and the drain are in server-bad-input and server-connections.

const listen = (server: RecordingServer) => server.app.listen({ host: '127.0.0.1', port: 0 });

describe('connections', () => {
  it('above connectionsMax are closed at once; those there go on', async () => {
    await using server = recordingServer({ limits: { connectionsMax: 2 } });
    await listen(server);
    const [first, second] = [await rawConnection(server.app), await rawConnection(server.app)];
    for (const client of [first, second]) {
      client.socket.write(requestText('GET', '/healthz'));
      await client.until('"alive":true');
    }
    const third = await rawConnection(server.app);
    third.socket.write(requestText('GET', '/healthz'));
    expect(await third.closed()).toBe('');
    first.socket.write(requestText('GET', '/readyz'));
    await first.until('"ready":true');
    first.socket.destroy();
    second.socket.destroy();
  });

  it('that say nothing for connectionTimeoutMs are closed', async () => {
    await using server = recordingServer({ limits: { connectionTimeoutMs: 100 } });
    await listen(server);
    const client = await rawConnection(server.app);
    expect(await client.closed()).toBe('');
  });

  it('that are idle after an answer for keepAliveTimeoutMs are closed', async () => {
    await using server = recordingServer({ limits: { keepAliveTimeoutMs: 1 } });
    await listen(server);
    const client = await rawConnection(server.app);
    client.socket.write(requestText('GET', '/healthz'));
    expect(await client.closed()).toContain('"alive":true');
  });
});

describe('the settings', () => {
  it('reach the server: body, headers, connections, keep-alive', async () => {
    await using database = await freshDatabase();
    await using replica = await startTestApp(database, {
      HTTP_BODY_BYTES_MAX: '1024',
      HTTP_HEADER_BYTES_MAX: '20000',
      HTTP_KEEP_ALIVE_MS: '5000',
      HTTP_CONNECTIONS_MAX: '4',
    });
    const { client, url } = replica;
    const large = { holder: 'h', metadata: { text: 'x'.repeat(1024) } };
    expect((await client.ask('POST', `/v1/queues/${anId('q')}/acquire`, large)).status).toBe(413);
    const headers = async (bytes: number) => fetch(`${url}/healthz`, { headers: { 'x-large': 'x'.repeat(bytes) } });
    expect((await headers(18_000)).status).toBe(200);
    expect((await headers(21_000)).status).toBe(431);
    expect((await headers(10)).headers.get('keep-alive')).toBe('timeout=5');
    const { hostname, port } = new URL(url);
    const sockets = Array.from({ length: 6 }, () => connect(Number(port), hostname).on('error', () => undefined));
    await Promise.any(sockets.map((socket) => once(socket, 'close')));
    for (const socket of sockets) socket.destroy();
  });
});
