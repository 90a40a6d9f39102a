import { once } from 'node:events';
import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { CallContext } from '../../src/protocol/coordinator.ts';
import { rawConnection, requestText } from './raw-connection.ts';
import { type RecordingServer, contextOf, recordingServer } from './recording-server.ts';
import { until } from '../support/until.ts';

const listen = (server: RecordingServer) => server.app.listen({ host: '127.0.0.1', port: 0 });
const acquireText = (waitMs: number) => requestText('POST', '/v1/queues/q/acquire', { holder: 'h', wait_ms: waitMs });
const firstCall = (server: RecordingServer) => until(() => server.calls[0], { what: 'the verb is called' });

/** Waits as a coordinator does: until its signal aborts, then by `then`. */
function waiting(then: (signal: AbortSignal) => unknown) {
  return async (...args: unknown[]): Promise<unknown> => {
    const { signal } = args.at(-1) as CallContext;
    if (!signal.aborted) await once(signal, 'abort');
    return then(signal);
  };
}
const throwing = waiting((signal) => {
  throw signal.reason;
});

describe('a client that hangs up', () => {
  it('aborts the signal of its call, and is written down as 499, not as a defect', async () => {
    await using server = recordingServer({ answers: { acquire: throwing } });
    await listen(server);
    const client = await rawConnection(server.app);
    client.socket.write(acquireText(60_000));
    const { signal } = contextOf(await firstCall(server));
    expect(signal.aborted).toBe(false);
    client.socket.destroy();
    if (!signal.aborted) await once(signal, 'abort');
    expect(signal.reason).toMatchObject({ name: 'AbortError' });
    await until(() => server.observed.length > 0, { what: 'the request is observed' });
    // The call rejects now, in turns after its signal; a line about that would come with them.
    await turn();
    expect(server.observed).toEqual([['/v1/queues/:queue/acquire', 'POST', 499]]);
    expect(server.lines).toMatchObject([{ level: 20, status: 499, code: 'client_closed_request' }]);
  });

  it('aborts a GET that waits too', async () => {
    await using server = recordingServer({ answers: { getClaim: throwing } });
    await listen(server);
    const client = await rawConnection(server.app);
    client.socket.write(requestText('GET', '/v1/queues/q/claims/c?wait_ms=60000'));
    const { signal } = contextOf(await firstCall(server));
    client.socket.destroy();
    if (!signal.aborted) await once(signal, 'abort');
    expect(signal.aborted).toBe(true);
  });

  it('having its answer, aborts nothing, on a kept connection either', async () => {
    await using server = recordingServer({ answers: { acquire: () => Promise.resolve({ state: 'held' }) } });
    await listen(server);
    const client = await rawConnection(server.app);
    client.socket.write(acquireText(1000));
    await client.until('"held"');
    client.socket.write(requestText('GET', '/healthz'));
    await client.until('"alive"');
    client.socket.destroy();
    await client.closed();
    await turn();
    expect(contextOf(server.calls[0]).signal.aborted).toBe(false);
  });
});

describe('what Node refuses before there is a request', () => {
  const long = 'a'.repeat(20_000);
  it.each([
    ['headers too large', `GET / HTTP/1.1\r\nhost: x\r\nx-long: ${long}\r\n\r\n`, 431, 'headers_too_large'],
    ['a URL longer than all headers may be', `GET /${long} HTTP/1.1\r\nhost: x\r\n\r\n`, 414, 'uri_too_long'],
    ['a line that is not HTTP', 'hello\r\n\r\n', 400, 'invalid_request'],
    [
      'a length beside chunks',
      'POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n',
      400,
      'invalid_request',
    ],
  ])('%s is a problem document, and the connection is closed', async (_title, text, status, code) => {
    await using server = recordingServer();
    await listen(server);
    const client = await rawConnection(server.app);
    client.socket.write(text);
    const answer = await client.closed();
    expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(answer).toContain('content-type: application/problem+json');
    expect(JSON.parse(answer.slice(answer.indexOf('\r\n\r\n')))).toMatchObject({ status, code });
    expect(server.calls).toEqual([]);
  });

  it.each([
    ['headers', { headersTimeoutMs: 100 }, 'GET / HTTP/1.1\r\nhost: x\r\n'],
    ['a body', { headersTimeoutMs: 100, requestTimeoutMs: 200 }, acquireText(0).slice(0, -1)],
  ])('%s that come too slowly are 408 request_timeout', async (_title, limits, text) => {
    await using server = recordingServer({ limits });
    await listen(server);
    const client = await rawConnection(server.app);
    client.socket.write(text);
    expect(await client.closed()).toMatch(/^HTTP\/1.1 408 [^]*"request_timeout"/);
    expect(server.calls).toEqual([]);
  });

  it('a chunked body above the limit is 413 and ends the connection', async () => {
    await using server = recordingServer({ limits: { bodyBytesMax: 1000 } });
    await listen(server);
    const client = await rawConnection(server.app);
    const head = 'POST /v1/queues/q/acquire HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n';
    client.socket.write(`${head}transfer-encoding: chunked\r\n\r\n800\r\n${'a'.repeat(2048)}\r\n`);
    expect(await client.until('body_too_large')).toMatch(/^HTTP\/1.1 413 /);
    expect(server.calls).toEqual([]);
  });
});

describe('stopping', () => {
  it('answers a wait with the state its coordinator gives, and closes the connection', async () => {
    const present = waiting((signal) => ({ state: 'waiting', why: (signal.reason as { code: string }).code }));
    await using server = recordingServer({ answers: { acquire: present } });
    await listen(server);
    const client = await rawConnection(server.app);
    client.socket.write(acquireText(60_000));
    await firstCall(server);
    await Promise.all([server.app.drain(), client.closed()]);
    expect(client.received()).toMatch(/^HTTP\/1.1 202 /);
    expect(client.received()).toContain('"why":"shutting_down"');
    expect(client.received().toLowerCase()).toContain('connection: close');
  });

  it('answers a wait with 503 when its coordinator gives up, for whatever reason it names', async () => {
    const giveUp = waiting(() => {
      throw new DOMException('aborted', 'AbortError');
    });
    for (const acquire of [throwing, giveUp]) {
      await using server = recordingServer({ answers: { acquire } });
      await listen(server);
      const client = await rawConnection(server.app);
      client.socket.write(acquireText(60_000));
      await firstCall(server);
      await Promise.all([server.app.drain(), client.closed()]);
      expect(client.received()).toMatch(/^HTTP\/1.1 503 /);
      expect(client.received()).toContain('"shutting_down"');
      expect(server.lines.some((line) => line['msg'] === 'request met a defect')).toBe(false);
    }
  });

  it('finishes a release under way, and turns new requests away meanwhile', async () => {
    const released = Promise.withResolvers<unknown>();
    await using server = recordingServer({ answers: { release: () => released.promise } });
    await listen(server);
    const [holder, other] = [await rawConnection(server.app), await rawConnection(server.app)];
    holder.socket.write(requestText('POST', '/v1/queues/q/claims/c/release', { fencing_token: 1 }));
    // Half a request keeps the other connection from being idle, so that it is still there after the stop began.
    const [half, rest] = [acquireText(0).slice(0, 20), acquireText(0).slice(20)];
    other.socket.write(half);
    await firstCall(server);
    const drained = server.app.drain();
    await turn();
    other.socket.write(rest);
    expect(await other.closed()).toMatch(/^HTTP\/1.1 503 [^]*"shutting_down"/);
    expect(contextOf(server.calls[0]).signal.aborted).toBe(false);
    released.resolve({ released: true });
    await drained;
    expect(await holder.closed()).toMatch(/^HTTP\/1.1 200 [^]*"released":true/);
    expect(server.calls).toHaveLength(1);
  });

  it('does not wait longer than its limit for an answer', async () => {
    const never = Promise.withResolvers<unknown>();
    await using server = recordingServer({ answers: { release: () => never.promise }, limits: { drainTimeoutMs: 50 } });
    await listen(server);
    const client = await rawConnection(server.app);
    client.socket.write(requestText('POST', '/v1/queues/q/claims/c/release', { fencing_token: 1 }));
    await firstCall(server);
    await Promise.all([server.app.drain(), client.closed()]);
    expect(client.received()).toBe('');
  });

  it('does not wait for a connection that never sent anything', async () => {
    await using server = recordingServer({ limits: { drainTimeoutMs: 600_000 } });
    await listen(server);
    const client = await rawConnection(server.app);
    await Promise.all([server.app.drain(), client.closed()]);
    expect(client.received()).toBe('');
  });

  it('closes idle connections at once, may be asked twice, and before listening', async () => {
    await using server = recordingServer();
    await listen(server);
    const client = await rawConnection(server.app);
    client.socket.write(requestText('GET', '/readyz'));
    await client.until('"ready":true');
    await Promise.all([server.app.drain(), server.app.drain(), client.closed()]);
    await using unused = recordingServer();
    await unused.app.drain();
  });
});
