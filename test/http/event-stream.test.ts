import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { Event } from '../../src/protocol/events.ts';
import { type TestDatabase, freshDatabase } from '../support/database.ts';
import { type TestApp, startTestApp } from '../support/test-app.ts';
import { aToken, revoke } from '../support/token-app.ts';
import { feedPatienceMs, until } from '../support/until.ts';

vi.setConfig({ testTimeout: 2 * feedPatienceMs });

let database: TestDatabase;
let app: TestApp;

beforeAll(async () => {
  database = await freshDatabase();
  app = await startTestApp(database);
});
afterAll(async () => {
  await app[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

/** A reader of server-sent events, as simple as a browser's. */
class StreamReader implements AsyncDisposable {
  readonly events: Event[] = [];
  readonly ids: string[] = [];
  retryMs: number | undefined;
  isOver = false;
  readonly #abort = new AbortController();
  #reading: Promise<void> = Promise.resolve();

  async open(url: string, headers: Record<string, string> = {}): Promise<Response> {
    const response = await fetch(url, {
      headers: { accept: 'text/event-stream', ...headers },
      signal: this.#abort.signal,
    });
    if (response.ok && response.body !== null) this.#reading = this.#read(response.body);
    return response;
  }

  async #read(body: ReadableStream<Uint8Array>): Promise<void> {
    let text = '';
    try {
      for await (const part of body.pipeThrough(new TextDecoderStream())) {
        text += part;
        const messages = text.split('\n\n');
        text = messages.pop() ?? '';
        for (const message of messages) this.#take(message);
      }
    } catch {
      // Hung up by the test.
    }
    this.isOver = true;
  }

  #take(message: string): void {
    const fields = new Map(
      message.split('\n').map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)]),
    );
    const retry = fields.get('retry');
    if (retry !== undefined) this.retryMs = Number(retry);
    const data = fields.get('data');
    if (data === undefined) return;
    const event = JSON.parse(data) as Event;
    expect(fields.get('event')).toBe(event.type);
    expect(fields.get('id')).toBe(event.id);
    this.events.push(event);
    this.ids.push(event.id);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort();
    await this.#reading;
  }
}

async function holdAndRelease(queue: string, claimId: string): Promise<void> {
  await app.client.release(await app.client.hold(queue, { claim_id: claimId }));
}

describe('GET /v1/events as server-sent events', () => {
  test('goes on from the oldest event kept, tells what happens as it does, and comes back behind the last id', async () => {
    await holdAndRelease('told/a', 'one');
    await using reader = new StreamReader();
    const response = await reader.open(`${app.url}/v1/events?prefix=told/`);
    expect(response.headers.get('content-type')).toBe('text/event-stream');
    await until(() => reader.events.length === 2, { timeoutMs: feedPatienceMs, what: 'the past is told' });
    expect(reader.retryMs).toBeGreaterThan(1000);
    await holdAndRelease('silent/a', 'x');
    await holdAndRelease('told/b', 'two');
    await until(() => reader.events.length === 4, { timeoutMs: feedPatienceMs, what: 'the present is told' });
    expect(reader.events.map(({ type, queue, claim_id }) => [type, queue, claim_id])).toEqual([
      ['lease.granted', 'told/a', 'one'],
      ['lease.released', 'told/a', 'one'],
      ['lease.granted', 'told/b', 'two'],
      ['lease.released', 'told/b', 'two'],
    ]);
    await using again = new StreamReader();
    await again.open(`${app.url}/v1/events?prefix=told/`, { 'last-event-id': reader.ids[1] ?? '' });
    await until(() => again.events.length === 2, { timeoutMs: feedPatienceMs, what: 'the rest is told' });
    expect(again.ids).toEqual(reader.ids.slice(2));
  });

  test('an id that is none of ours is refused before the stream begins', async () => {
    await using reader = new StreamReader();
    const response = await reader.open(`${app.url}/v1/events`, { 'last-event-id': 'nonsense' });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ code: 'invalid_request' });
  });

  test('who accepts everything, as every client does, gets JSON', async () => {
    const response = await fetch(`${app.url}/v1/events`, { headers: { accept: '*/*' } });
    expect(response.headers.get('content-type')).toContain('application/json');
    await response.json();
  });

  test('a stream ends when its token is revoked, and when the replica stops', async () => {
    await using own = await freshDatabase();
    const tokenApp = await startTestApp(own);
    const token = await aToken(own, { scope: 'read' });
    const authorization = `Bearer ${token.token}`;
    await using reader = new StreamReader();
    await until(
      async () => {
        const probe = await fetch(`${tokenApp.url}/v1/events`);
        await probe.body?.cancel();
        return probe.status === 401;
      },
      { timeoutMs: feedPatienceMs, what: 'the token is known' },
    );
    const response = await reader.open(`${tokenApp.url}/v1/events`, { authorization });
    expect(response.status).toBe(200);
    await using other = new StreamReader();
    await other.open(`${tokenApp.url}/v1/events`, { authorization });
    await until(() => reader.events.length > 0 && other.events.length > 0, {
      timeoutMs: feedPatienceMs,
      what: 'both are told of the token',
    });
    await revoke(own, token);
    await until(() => reader.isOver && other.isOver, { timeoutMs: feedPatienceMs, what: 'both ended' });
    await tokenApp[Symbol.asyncDispose]();

    await using last = new StreamReader();
    const stopping = await startTestApp(database, { SHUTDOWN_GRACE_SECONDS: '60' });
    await last.open(`${stopping.url}/v1/events`);
    await until(() => last.events.length > 0, { timeoutMs: feedPatienceMs, what: 'it is told' });
    // It ends by itself: the replica would cut it after its grace of a minute.
    const stopped = stopping[Symbol.asyncDispose]();
    await until(() => last.isOver, { timeoutMs: feedPatienceMs, what: 'it ended with its replica' });
    await stopped;
  });
});
