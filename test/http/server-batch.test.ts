import type { InjectOptions } from 'fastify';
import { describe, expect, it } from 'vitest';
import { SignalboxError } from '../../src/protocol/errors.ts';
import { JsonText } from '../../src/protocol/json-text.ts';
import { until } from '../support/until.ts';
import { rawConnection, requestText } from './raw-connection.ts';
import { contextOf, recordingServer } from './recording-server.ts';

// What the HTTP side alone does with a batch; what becomes of its operations is in the contract tests.

interface Result {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
}

const post = (operations: readonly unknown[]): InjectOptions => ({
  method: 'POST',
  url: '/v1/batch',
  payload: JSON.stringify({ operations }),
  headers: { 'content-type': 'application/json' },
});
const of = { queue: 'q', claim_id: 'c' };
const get = (queue: string) => ({ op: 'get', queue, claim_id: 'c' });
const breakIt = (queue: string) => ({ op: 'break', queue, claim_id: 'c', reason: 'r', actor: 'a' });

describe('an operation becomes one call of its verb', () => {
  it.each<[operation: object, verb: string, args: readonly unknown[], answer: unknown, status: number]>([
    [
      { op: 'acquire', queue: 'a/b', holder: 'h', claim_id: 'c', priority: 3 },
      'acquire',
      ['a/b', { holder: 'h', claim_id: 'c', priority: 3, wait_ms: 0, mode: 'wait', labels: {}, metadata: {} }],
      { state: 'held' },
      200,
    ],
    [
      { op: 'acquire', queue: 'q', holder: 'h' },
      'acquire',
      ['q', { holder: 'h', priority: 0, wait_ms: 0 }],
      { state: 'waiting' },
      202,
    ],
    [{ op: 'get', ...of }, 'getClaim', ['q', 'c', 0], { state: 'held' }, 200],
    [{ op: 'renew', ...of, fencing_token: 7 }, 'renew', ['q', 'c', { fencing_token: 7 }], {}, 200],
    [
      { op: 'release', ...of, fencing_token: 7, outcome: 'retry', retry_after_ms: 5 },
      'release',
      ['q', 'c', { fencing_token: 7, outcome: 'retry', retry_after_ms: 5 }],
      { released: true },
      200,
    ],
    [{ op: 'cancel', ...of }, 'cancel', ['q', 'c'], {}, 200],
    [{ op: 'break', ...of, reason: 'r', actor: 'a' }, 'break', ['q', 'c', { reason: 'r', actor: 'a' }], {}, 200],
    [
      { op: 'enqueue', queue: 'q', claim_id: 'c', payload: [1], delay_ms: 5 },
      'enqueue',
      ['q', { claim_id: 'c', payload: new JsonText('[1]'), priority: 0, labels: {}, delay_ms: 5 }],
      { created: true, claim: { kind: 'run' } },
      201,
    ],
    [
      { op: 'enqueue', queue: 'q' },
      'enqueue',
      ['q', { payload: undefined }],
      { created: false, claim: { kind: 'run' } },
      200,
    ],
  ])('%j', async (operation, verb, args, answer, status) => {
    await using server = recordingServer({ answers: { [verb]: () => Promise.resolve(answer) } });
    const { results } = (await server.app.inject(post([operation]))).json<{ results: Result[] }>();
    expect(results.map((result) => result.status)).toEqual([status]);
    expect(server.calls.map((call) => call.verb)).toEqual([verb]);
    expect(server.calls[0]?.args.slice(0, -1)).toMatchObject(args);
    expect(contextOf(server.calls[0]).signal.aborted).toBe(false);
  });

  it('all of them in one turn of the event loop, and the answers stand in the order of the operations', async () => {
    let turns = 0;
    const seen: number[] = [];
    await using server = recordingServer({
      answers: {
        getClaim: async (queue) => {
          seen.push(turns);
          // The first to be asked is the last to answer.
          for (let turn = Number(queue); turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
          return { queue };
        },
      },
    });
    const timer = setInterval(() => turns++, 0);
    const names = Array.from({ length: 50 }, (_, i) => `${i}`);
    const { results } = (await server.app.inject(post(names.map(get)))).json<{ results: Result[] }>();
    clearInterval(timer);
    expect(results.map(({ body }) => body['queue'])).toEqual(names);
    expect(new Set(seen).size).toBe(1);
  });

  it('a token of scope read only looks', async () => {
    await using server = recordingServer({ caller: { scope: 'read' } });
    await server.app.inject(post([get('q')]));
    expect(contextOf(server.calls[0]).onlyLooks).toBe(true);
  });

  it('its client may go: what was handed on is done', async () => {
    await using server = recordingServer();
    await server.app.inject(post([get('q')]));
    expect(contextOf(server.calls[0])).toMatchObject({ onlyLooks: false });
  });
});

describe('the log of a batch is one line', () => {
  const line = (server: { lines: Record<string, unknown>[] }) => {
    expect(server.lines.length).toBe(1);
    return server.lines[0];
  };

  it('also when the client hung up: who broke what is to be found there', async () => {
    const broken = Promise.withResolvers<unknown>();
    await using server = recordingServer({ answers: { break: () => broken.promise } });
    await server.app.listen({ host: '127.0.0.1', port: 0 });
    const client = await rawConnection(server.app);
    client.socket.write(requestText('POST', '/v1/batch', { operations: [breakIt('q')] }));
    await until(() => server.calls.length > 0, { what: 'the claim is being broken' });
    client.socket.destroy();
    await until(() => server.lines.length > 0, { what: 'the request is written down' });
    expect(line(server)).toMatchObject({ route: '/v1/batch', status: 499, level: 30, administered: ['q'] });
    broken.resolve({ state: 'broken' });
  });

  it('that tells how many operations there were and how many failed', async () => {
    await using server = recordingServer({
      answers: {
        cancel: () => Promise.reject(new SignalboxError('claim_not_found')),
      },
    });
    await server.app.inject(post([get('secret/a'), { op: 'cancel', ...of }, { op: 'nope' }, get('b')]));
    expect(line(server)).toMatchObject({ route: '/v1/batch', status: 200, operations: 4, failed: 2, level: 30 });
    // Names of queues are told of what administers only.
    expect(JSON.stringify(server.lines)).not.toContain('secret');
    expect(server.observed).toEqual([['/v1/batch', 'POST', 200]]);
    expect(server.batched.toSorted()).toEqual([
      ['cancel', 404, 1],
      ['get', 200, 2],
      ['unknown', 400, 1],
    ]);
  });

  it('of level debug if all went well', async () => {
    await using server = recordingServer();
    await server.app.inject(post([get('a')]));
    expect(line(server)).toMatchObject({ level: 20, operations: 1, failed: 0 });
  });

  it('of level error if one met what is our fault', async () => {
    await using server = recordingServer({
      answers: { getClaim: () => Promise.reject(new SignalboxError('overloaded', { retryAfterMs: 1000 })) },
    });
    const answer = await server.app.inject(post([get('a')]));
    expect(answer.statusCode).toBe(200);
    expect(answer.headers).not.toHaveProperty('retry-after');
    expect(answer.json<{ results: Result[] }>().results[0]?.body).toMatchObject({ retry_after_ms: 1000 });
    expect(line(server)).toMatchObject({ level: 50, status: 200, failed: 1 });
  });

  it('that names the queues where somebody broke claims, also where that failed', async () => {
    await using server = recordingServer();
    await server.app.inject(post([breakIt('a'), breakIt('b'), breakIt('a'), get('c')]));
    expect(line(server)).toMatchObject({ level: 30, administered: ['a', 'b'] });
    await using use = recordingServer({ caller: { scope: 'use' } });
    await use.app.inject(post([breakIt('a')]));
    expect(line(use)).not.toHaveProperty('administered');
  });

  it('and one more for a defect, however many operations met it', async () => {
    const defect = new TypeError('private text');
    await using server = recordingServer({
      answers: { getClaim: () => Promise.reject(defect), cancel: () => Promise.reject(new TypeError('another')) },
    });
    const { results } = (await server.app.inject(post([get('a'), get('b'), get('c'), { op: 'cancel', ...of }]))).json<{
      results: Result[];
    }>();
    expect(results.map(({ status, body }) => [status, body['code']])).toEqual(
      results.map(() => [500, 'internal_error']),
    );
    expect(JSON.stringify(results)).not.toContain('private text');
    const instances = results.map(({ body }) => body['instance']);
    expect(new Set(instances).size).toBe(2);
    const defects = server.lines.filter(({ msg }) => msg === 'an operation of a batch met a defect');
    expect(defects.map(({ instance }) => instance)).toEqual([instances[0], instances[3]]);
    expect(server.lines.length).toBe(3);
  });
});

describe('the body of a batch', () => {
  it('may be long, and is refused when it is too long', async () => {
    await using server = recordingServer();
    const long = (bytes: number) => post([{ op: 'enqueue', queue: 'q', payload: 'x'.repeat(bytes) }]);
    expect((await server.app.inject(long(200_000))).json<{ results: Result[] }>().results[0]?.status).toBe(200);
    const answer = await server.app.inject(long(4_194_304));
    expect([answer.statusCode, answer.json<{ code: string }>().code]).toEqual([413, 'body_too_large']);
  });

  it('may nest as deep as bodies of single calls inside it, and no deeper', async () => {
    await using server = recordingServer();
    const nested = (depth: number): InjectOptions => ({
      ...post([]),
      payload: `{"operations":[{"op":"enqueue","queue":"q","payload":${'['.repeat(depth)}${']'.repeat(depth)}}]}`,
    });
    expect((await server.app.inject(nested(31))).statusCode).toBe(200);
    const answer = await server.app.inject(nested(32));
    expect([answer.statusCode, answer.json<{ code: string }>().code]).toEqual([400, 'invalid_json']);
  });
});
