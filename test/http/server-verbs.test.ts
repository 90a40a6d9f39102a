import type { InjectOptions } from 'fastify';
import { describe, expect, it } from 'vitest';
import { SignalboxError } from '../../src/protocol/errors.ts';
import { recordingServer } from './recording-server.ts';

const claim = '/v1/queues/q/claims/c';
const calls: [request: InjectOptions, verb: string, args: unknown[]][] = [
  [{ method: 'POST', url: `${claim}/renew`, payload: { fencing_token: 7 } }, 'renew', ['q', 'c', { fencing_token: 7 }]],
  [{ method: 'POST', url: `${claim}/cancel` }, 'cancel', ['q', 'c']],
  [{ method: 'POST', url: `${claim}/cancel`, payload: {} }, 'cancel', ['q', 'c']],
  [{ method: 'POST', url: `${claim}/cancel`, headers: { 'content-type': 'application/json' } }, 'cancel', ['q', 'c']],
  [{ method: 'GET', url: `${claim}?wait_ms=5` }, 'getClaim', ['q', 'c', 5]],
  [{ method: 'GET', url: '/v1/queues' }, 'listQueues', [{ prefix: '', cursor: '', limit: 100 }]],
  [
    { method: 'GET', url: '/v1/queues?prefix=team%2F&cursor=team%2Fa&limit=1000' },
    'listQueues',
    [{ prefix: 'team/', cursor: 'team/a', limit: 1000 }],
  ],
  [{ method: 'GET', url: '/v1/queues/q/check?fencing_token=9007199254740991' }, 'checkToken', ['q', 2 ** 53 - 1, 1]],
  [
    { method: 'PUT', url: '/v1/queues/q', payload: { paused: true }, headers: { 'if-match': '"3"' } },
    'configureQueue',
    ['q', { paused: true }, { ifVersion: 3, actor: undefined }],
  ],
  [
    { method: 'DELETE', url: '/v1/queues/q?force=true', headers: { 'if-match': '*' } },
    'deleteQueue',
    ['q', { force: true, ifVersion: undefined, actor: undefined }],
  ],
  [
    { method: 'DELETE', url: '/v1/queues/q?force=false' },
    'deleteQueue',
    ['q', { force: false, ifVersion: undefined, actor: undefined }],
  ],
  [{ method: 'GET', url: '/v1/orchestrator' }, 'orchestrator', []],
];

describe('a request becomes one call of its verb', () => {
  it.each(calls)('%j', async (request, verb, args) => {
    await using server = recordingServer();
    expect((await server.app.inject(request)).statusCode).toBe(200);
    expect(server.calls).toHaveLength(1);
    expect(server.calls[0]?.verb).toBe(verb);
    expect(server.calls[0]?.args.slice(0, args.length)).toEqual(args);
  });
});

describe('answers', () => {
  it.each([
    ['held', 200],
    ['waiting', 202],
  ])('an acquire that is %s is %i', async (state, status) => {
    await using server = recordingServer({ answers: { acquire: () => Promise.resolve({ state }) } });
    const answer = await server.app.inject({ method: 'POST', url: '/v1/queues/q/acquire', payload: { holder: 'h' } });
    expect(answer.statusCode).toBe(status);
    expect(answer.json()).toEqual({ state });
    expect(answer.headers).toMatchObject({ 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' });
    expect(answer.headers).not.toHaveProperty('server');
    expect(answer.headers).not.toHaveProperty('x-powered-by');
  });

  it('the version of a queue is its ETag', async () => {
    await using server = recordingServer();
    expect((await server.app.inject('/v1/queues/q')).headers['etag']).toBe('"1"');
    const put = await server.app.inject({ method: 'PUT', url: '/v1/queues/q', payload: {} });
    expect(put.headers['etag']).toBe('"1"');
  });

  it('If-Match: * makes no queue', async () => {
    await using server = recordingServer({
      answers: { getQueue: () => Promise.reject(new SignalboxError('queue_not_found')) },
    });
    const request = { method: 'PUT', url: '/v1/queues/q', payload: {}, headers: { 'if-match': '*' } } as const;
    const answer = await server.app.inject(request);
    expect(answer.json()).toMatchObject({ status: 412, code: 'version_mismatch' });
    expect(server.calls.map((call) => call.verb)).toEqual(['getQueue']);
  });

  it('metrics and index are served', async () => {
    await using server = recordingServer();
    const metrics = await server.app.inject('/metrics');
    expect([metrics.headers['content-type'], metrics.body]).toEqual([
      'text/plain; version=0.0.4; charset=utf-8',
      'up 1\n',
    ]);
    expect((await server.app.inject('/')).json()).toMatchObject({ service: 'signalbox' });
    expect((await server.app.inject({ method: 'DELETE', url: '/v1/queues/q' })).json()).toEqual({ deleted: true });
  });
});
