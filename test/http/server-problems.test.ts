import { describe, expect, it } from 'vitest';
import { type ErrorCode, SignalboxError, errorCatalogue } from '../../src/protocol/errors.ts';
import { recordingServer } from './recording-server.ts';

const failing = (error: unknown) =>
  recordingServer({
    answers: {
      getQueue: async () => {
        throw error;
      },
    },
  });

describe('problem documents', () => {
  it.each(Object.keys(errorCatalogue) as ErrorCode[])('%s goes out with its status and code', async (code) => {
    await using server = failing(new SignalboxError(code, { detail: 'why', extra: { state: 'expired', status: 1 } }));
    const answer = await server.app.inject('/v1/queues/q');
    const { status, title } = errorCatalogue[code];
    expect(answer.statusCode).toBe(status);
    expect(answer.headers['content-type']).toBe('application/problem+json');
    expect(answer.json()).toEqual({
      type: `urn:signalbox:error:${code}`,
      title,
      status,
      code,
      detail: 'why',
      state: 'expired',
    });
  });

  it.each([
    [1, '1'],
    [1000, '1'],
    [1001, '2'],
  ])('a retry after %i ms is announced in whole seconds, at least one', async (retryAfterMs, seconds) => {
    await using server = failing(new SignalboxError('overloaded', { retryAfterMs }));
    const answer = await server.app.inject('/v1/queues/q');
    expect(answer.headers['retry-after']).toBe(seconds);
    expect(answer.json()).toMatchObject({ retry_after_ms: retryAfterMs });
  });

  it.each([
    ['an error', Object.assign(new Error('password=secret'), { code: '42P01', statusCode: 418 })],
    ['no error at all', 'password=secret'],
  ])('a defect (%s) leaks nothing and is logged under its instance', async (_title, defect) => {
    await using server = failing(defect);
    const answer = await server.app.inject('/v1/queues/q');
    expect(answer.statusCode).toBe(500);
    expect(answer.body).not.toContain('secret');
    const { code, instance } = answer.json<{ code: string; instance: string }>();
    expect(code).toBe('internal_error');
    const line = server.lines.find((entry) => entry['instance'] === instance);
    expect(line).toMatchObject({ level: 50, route: '/v1/queues/:queue' });
    expect(JSON.stringify(line)).toContain('password=secret');
  });

  it('an unready replica says why', async () => {
    await using server = recordingServer({
      health: {
        readiness: () => Promise.resolve({ ready: false, code: 'database_unavailable', detail: 'refused' }),
      },
    });
    const answer = await server.app.inject('/readyz');
    expect(answer.statusCode).toBe(503);
    expect(answer.json()).toMatchObject({ code: 'database_unavailable', detail: 'refused' });
    expect((await server.app.inject('/healthz')).statusCode).toBe(200);
  });
});

describe('one summary a request', () => {
  it('names route, status, code and queue, and nothing of the body', async () => {
    await using server = recordingServer({
      answers: { acquire: () => Promise.reject(new SignalboxError('queue_full')) },
    });
    const payload = { holder: 'h', labels: { team: 'private' }, metadata: { note: 'private' } };
    await server.app.inject({ method: 'POST', url: '/v1/queues/team%2Frepo/acquire', payload });
    expect(server.lines).toHaveLength(1);
    expect(server.lines[0]).toMatchObject({
      level: 30,
      method: 'POST',
      route: '/v1/queues/:queue/acquire',
      status: 429,
      code: 'queue_full',
      queue: 'team/repo',
      duration_ms: expect.any(Number) as number,
    });
    expect(JSON.stringify(server.lines)).not.toContain('private');
  });

  it('is level error for a 5xx, info for a 4xx, debug for the rest', async () => {
    await using server = failing(new SignalboxError('database_timeout'));
    for (const url of ['/v1/queues/q', '/nope', '/healthz']) await server.app.inject(url);
    expect(server.lines.map((line) => line['level'])).toEqual([50, 30, 20]);
  });

  it('is observed under the pattern of its route, never its path', async () => {
    await using server = recordingServer();
    for (const url of ['/v1/queues/q', '/nope/q', '/v1/queues/%zz']) await server.app.inject(url);
    expect(server.observed).toEqual([
      ['/v1/queues/:queue', 'GET', 200],
      ['unmatched', 'GET', 404],
      ['unmatched', 'GET', 400],
    ]);
  });
});

describe('what the detail tells', () => {
  const acquire = (body: object) => ({ method: 'POST', url: '/v1/queues/q/acquire', payload: body }) as const;

  it('is every fault, up to three, and how many more there are', async () => {
    await using server = failing(new Error('never asked'));
    const two = await server.app.inject(acquire({ foo: 1 }));
    expect(two.json()).toMatchObject({ detail: 'body /holder: is missing; body /foo: unknown field' });
    const five = await server.app.inject(acquire({ holder: 1, ttl_ms: 5, wait_ms: -1, a: 1, b: 1 }));
    expect(five.json<{ detail: string }>().detail).toMatch(/^body \/holder: must be a string; .*; .*; and 2 more$/);
  });

  it('is how a slash is written, where a name with one was pasted into a path', async () => {
    await using server = failing(new Error('never asked'));
    const pasted = await server.app.inject({ url: '/v1/queues/deploy/production' });
    expect(pasted.json<{ detail: string }>().detail).toContain('%2F');
    const other = await server.app.inject({ url: '/v1/nothing' });
    expect(other.json<{ detail: string }>().detail).not.toContain('%2F');
  });

  it('is that an effect is unknown only where a call could have one', async () => {
    const away = () => Promise.reject(new SignalboxError('database_unavailable', { retryAfterMs: 1000 }));
    await using server = recordingServer({ answers: { getQueue: away, deleteQueue: away } });
    const read = await server.app.inject('/v1/queues/q');
    expect(read.json()).toMatchObject({ code: 'database_unavailable', detail: 'The database cannot be reached.' });
    expect(read.headers['retry-after']).toBe('1');
    const change = await server.app.inject({ method: 'DELETE', url: '/v1/queues/q' });
    expect(change.json<{ detail: string }>().detail).toContain('whether the call took effect is unknown');
  });
});
