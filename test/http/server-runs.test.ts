import type { InjectOptions } from 'fastify';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { JsonText } from '../../src/protocol/json-text.ts';
import { type HttpApp, namedInBody } from '../../src/http/operation.ts';
import { payloadBytesMax } from '../../src/protocol/runs.ts';
import { contextOf, recordingServer } from './recording-server.ts';

// What the HTTP side alone does with runs; what becomes of them is in the contract tests.

const json = { 'content-type': 'application/json' };
const post = (url: string, payload: unknown): InjectOptions => ({
  method: 'POST',
  url,
  payload: typeof payload === 'string' ? payload : JSON.stringify(payload),
  headers: json,
});
const lease = (queue: string) => ({ queue, claim_id: 'c', fencing_token: 7 });
const queued = { claim_id: 'c', queue: 'q', kind: 'run', state: 'waiting' };
const operator = { actor: 'a', reason: 'r' };

describe('a request becomes one call of its verb', () => {
  const enqueued = { priority: 0, labels: {}, delay_ms: 0 };
  const calls: [request: InjectOptions, verb: string, args: unknown[], status: number][] = [
    [post('/v1/queues/q/enqueue', {}), 'enqueue', ['q', { ...enqueued, payload: undefined }], 201],
    [
      post('/v1/queues/q/enqueue', {
        claim_id: 'c',
        priority: -5,
        payload: null,
        labels: { a: 'b' },
        delay_ms: 5,
        max_attempts: 3,
        max_age_ms: 1000,
      }),
      'enqueue',
      [
        'q',
        {
          claim_id: 'c',
          priority: -5,
          payload: new JsonText('null'),
          labels: { a: 'b' },
          delay_ms: 5,
          max_attempts: 3,
          max_age_ms: 1000,
        },
      ],
      201,
    ],
    [post('/v1/take', { holder: 'h', queue: 'q' }), 'take', [{ holder: 'h', queue: 'q', max: 1, wait_ms: 0 }], 200],
    [
      post('/v1/take', { holder: 'h', prefix: '', max: 1000, ttl_ms: 1000, wait_ms: 1, request_id: 'r' }),
      'take',
      [{ holder: 'h', prefix: '', max: 1000, ttl_ms: 1000, wait_ms: 1, request_id: 'r' }],
      200,
    ],
    [post('/v1/holders/h/renew', {}), 'renewHeld', ['h', {}, ''], 200],
    [
      post('/v1/holders/%C3%BC%20a%2Fb%3A1/renew', { claims: [lease('q')], ttl_ms: 2000 }),
      'renewHeld',
      ['ü a/b:1', { claims: [lease('q')], ttl_ms: 2000 }, ''],
      200,
    ],
    [
      post('/v1/holders/h/release', {
        claims: [lease('q'), { ...lease('p'), outcome: 'retry', retry_after_ms: 0, error: 'a\nb' }],
      }),
      'releaseHeld',
      ['h', [lease('q'), { ...lease('p'), outcome: 'retry', retry_after_ms: 0, error: 'a\nb' }]],
      200,
    ],
    [
      post('/v1/queues/q/claims/c/release', { fencing_token: 7, outcome: 'retry', retry_after_ms: 5, error: 'e' }),
      'release',
      ['q', 'c', { fencing_token: 7, outcome: 'retry', retry_after_ms: 5, error: 'e' }],
      200,
    ],
    [
      { method: 'GET', url: '/v1/dead-letters' },
      'listDeadLetters',
      [{ queue: undefined, prefix: '', cursor: '', limit: 50 }],
      200,
    ],
    [
      { method: 'GET', url: '/v1/dead-letters?prefix=team%2F&cursor=x&limit=100' },
      'listDeadLetters',
      [{ queue: undefined, prefix: 'team/', cursor: 'x', limit: 100 }],
      200,
    ],
    [
      post('/v1/queues/q/dead-letters/redrive', { claim_ids: ['a', 'b'], actor: 'me' }),
      'redriveDeadLetters',
      ['q', { claim_ids: ['a', 'b'], actor: 'me' }],
      200,
    ],
    [
      post('/v1/queues/q/dead-letters/purge', { all: true, actor: 'me' }),
      'purgeDeadLetters',
      ['q', { all: true, actor: 'me' }],
      200,
    ],
    [{ method: 'GET', url: '/v1/blocked?limit=100' }, 'listBlocked', [{ prefix: '', cursor: '', limit: 100 }], 200],
    [post('/v1/queues/q/unblock', operator), 'unblockQueue', ['q', operator], 200],
    [post('/v1/queues/q/claims/c/retry', operator), 'retryRun', ['q', 'c', operator], 200],
    [post('/v1/failover/accept', { actor: 'a' }), 'acceptFailover', [{ actor: 'a' }], 200],
    [post('/v1/queues/q/claims/c/skip', { actor: 'a' }), 'skipRun', ['q', 'c', { actor: 'a' }], 200],
  ];

  it.each(calls)('%j', async (request, verb, args, status) => {
    await using server = recordingServer({
      answers: {
        enqueue: () => Promise.resolve({ created: true, claim: queued }),
        take: () => Promise.resolve({ claims: [] }),
        releaseHeld: () => Promise.resolve({ results: [] }),
        listDeadLetters: () => Promise.resolve({ dead_letters: [], next_cursor: null }),
      },
    });
    expect((await server.app.inject(request)).statusCode).toBe(status);
    expect(server.calls.map((call) => call.verb)).toEqual([verb]);
    expect(server.calls[0]?.args.slice(0, args.length)).toEqual(args);
  });

  it('dead letters of one queue are asked for by its name', async () => {
    await using server = recordingServer({
      answers: { listDeadLetters: () => Promise.resolve({ dead_letters: [], next_cursor: null }) },
    });
    await server.app.inject('/v1/dead-letters?queue=q');
    expect(server.calls[0]?.args[0]).toMatchObject({ queue: 'q' });
  });
});

describe('an enqueue', () => {
  it.each([
    [true, 201],
    [false, 200],
  ])('with created %j is %i', async (created, status) => {
    await using server = recordingServer({ answers: { enqueue: () => Promise.resolve({ created, claim: queued }) } });
    const answer = await server.app.inject(post('/v1/queues/q/enqueue', {}));
    expect([answer.statusCode, answer.json()]).toEqual([status, queued]);
  });

  const payloadSeen = async (body: string | Buffer) => {
    await using server = recordingServer({
      answers: { enqueue: () => Promise.resolve({ created: true, claim: queued }) },
    });
    const answer = await server.app.inject({ ...post('/v1/queues/q/enqueue', ''), payload: body });
    return { answer, payload: (server.calls[0]?.args[1] as { payload?: JsonText } | undefined)?.payload?.text };
  };

  it.each([
    [
      String.raw`{"\u0070ayload" : [1.0,  1E+2, -0, "\u00fc\/" ] , "claim_id":"c"}`,
      String.raw`[1.0,  1E+2, -0, "\u00fc\/" ]`,
    ],
    [String.raw`{"payload":"\ud800\u0000"}`, String.raw`"\ud800\u0000"`],
    ['{"payload":1e999}', '1e999'],
    ['\uFEFF{"payload":{"b":1,"a":2}}', '{"b":1,"a":2}'],
    ['{"labels":{"payload":"x"},"payload":0.10}', '0.10'],
    ['{"labels":{"payload":"x"}}', undefined],
    ['{"payload":null}', 'null'],
  ])('keeps its payload as written: %s', async (body, text) => {
    const { answer, payload } = await payloadSeen(body);
    expect([answer.statusCode, payload]).toEqual([201, text]);
  });

  it('counts the bytes of the payload, not those of the body', async () => {
    const largest = `"${'ü'.repeat(payloadBytesMax / 2 - 1)}"`;
    const spaced = `{"payload":${' '.repeat(60_000)}${largest}}`;
    expect((await payloadSeen(spaced)).payload).toBe(largest);
    const larger = await payloadSeen(`{"payload":${largest.replace('ü', 'üa')}}`);
    expect(larger.answer.json()).toMatchObject({ status: 413, code: 'payload_too_large' });
    expect(larger.payload).toBeUndefined();
  });

  it('has a body limit of its own, which is never below the one configured', async () => {
    const body = { payload: 'x'.repeat(payloadBytesMax + 70_000) };
    const status = async (bodyBytesMax: number) => {
      await using server = recordingServer({ limits: { bodyBytesMax } });
      const answer = await server.app.inject(post('/v1/queues/q/enqueue', body));
      return answer.json<{ code: string }>().code;
    };
    expect(await status(1024)).toBe('body_too_large');
    expect(await status(1_048_576)).toBe('payload_too_large');
  });

  it.each([
    ['nesting deeper than 32', `{"payload":${'['.repeat(32)}${']'.repeat(32)}}`],
    ['a field named twice', '{"payload":{"a":1,"a":2}}'],
    ['two payloads', String.raw`{"payload":1,"\u0070ayload":2}`],
    ['__proto__', '{"payload":{"__proto__":{}}}'],
    ['a number that is none', '{"payload":01}'],
  ])('is refused with %s in its payload', async (_title, body) => {
    const { answer, payload } = await payloadSeen(body);
    expect([answer.json<{ code: string }>().code, payload]).toEqual(['invalid_json', undefined]);
  });
});

describe('payloads in answers', () => {
  const texts = ['1.0', '{"b" : 1, "a":"$&$1"}', '"\\ud800"', '[ ]', 'null', '1e999'];

  it('are the text that was stored', async () => {
    const claims = texts.map((text, i) => ({ claim_id: `c${i}`, payload: new JsonText(text), labels: { a: '"' } }));
    await using server = recordingServer({ answers: { take: () => Promise.resolve({ claims }) } });
    const { body } = await server.app.inject(post('/v1/take', { holder: 'h', queue: 'q' }));
    const parts = texts.map((text, i) => `{"claim_id":"c${i}","payload":${text},"labels":{"a":"\\""}}`);
    expect(body).toBe(`{"claims":[${parts.join(',')}]}`);
  });

  it('of dead letters too', async () => {
    const dead_letters = texts.map((text) => ({ payload: new JsonText(text), history: [] }));
    await using server = recordingServer({
      answers: { listDeadLetters: () => Promise.resolve({ dead_letters, next_cursor: 'n' }) },
    });
    const { body, headers } = await server.app.inject('/v1/dead-letters');
    const parts = texts.map((text) => `{"payload":${text},"history":[]}`);
    expect(body).toBe(`{"dead_letters":[${parts.join(',')}],"next_cursor":"n"}`);
    expect(headers['content-type']).toBe('application/json; charset=utf-8');
  });
});

describe('a take', () => {
  it('waits as a long-poll does: its signal aborts when the server stops', async () => {
    await using server = recordingServer({
      answers: {
        take: async (...args) => {
          const { signal } = contextOf({ verb: 'take', args });
          await new Promise((resolve) => signal.addEventListener('abort', resolve));
          return { claims: [] };
        },
      },
    });
    const asked = server.app.inject(post('/v1/take', { holder: 'h', queue: 'q', wait_ms: 60_000 }));
    await expect.poll(() => server.calls.length).toBe(1);
    await server.app.drain();
    expect((await asked).json()).toEqual({ claims: [] });
  });
});

describe('bodies of many leases', () => {
  it('may be longer than others, and are refused above their own limit', async () => {
    await using server = recordingServer({ limits: { bodyBytesMax: 1024 } });
    const claims = Array.from({ length: 1000 }, (_, i) => ({
      queue: 'q'.repeat(200),
      claim_id: `${i}`.padStart(200, '0'),
      fencing_token: Number.MAX_SAFE_INTEGER,
    }));
    expect((await server.app.inject(post('/v1/holders/h/renew', { claims }))).statusCode).toBe(200);
    const endings = claims.map((claim) => ({ ...claim, outcome: 'failure', error: 'e'.repeat(1000) }));
    const answer = await server.app.inject(post('/v1/holders/h/release', { claims: endings }));
    expect(answer.json()).toMatchObject({ status: 413, code: 'body_too_large' });
    const claim_ids = claims.map(({ claim_id }) => claim_id);
    const redrive = post('/v1/queues/q/dead-letters/redrive', { claim_ids, actor: 'a' });
    expect((await server.app.inject(redrive)).statusCode).toBe(200);
  });
});

describe('queues named in a body', () => {
  const codeOf = async (request: InjectOptions, queuePrefix = 'mine/') => {
    await using server = recordingServer({
      caller: { scope: 'use', queuePrefix },
      answers: {
        take: () => Promise.resolve({ claims: [] }),
        releaseHeld: () => Promise.resolve({ results: [] }),
      },
    });
    const answer = await server.app.inject(request);
    const { code } = answer.json<{ code?: string }>();
    expect(server.calls.length).toBe(code === undefined ? 1 : 0);
    if (code === 'forbidden') expect(answer.json()).toMatchObject({ status: 403, queue_prefix: queuePrefix });
    return code;
  };
  const take = (where: object) => post('/v1/take', { holder: 'h', ...where });

  it.each([
    [{ queue: 'mine/q' }, undefined],
    [{ queue: 'mine/' }, undefined],
    [{ prefix: 'mine/' }, undefined],
    [{ prefix: 'mine/a' }, undefined],
    [{ queue: 'mine' }, 'forbidden'],
    [{ queue: 'theirs/q' }, 'forbidden'],
    [{ queue: 'MINE/q' }, 'forbidden'],
    [{ prefix: 'mine' }, 'forbidden'],
    [{ prefix: '' }, 'forbidden'],
    [{ prefix: 'theirs/' }, 'forbidden'],
    // What is no valid body names nothing; it is not looked into.
    [{ queue: 'theirs/q', prefix: 'mine/' }, 'invalid_request'],
    [{}, 'invalid_request'],
  ])('a take of %j by a token for mine/: %s', async (where, code) => {
    expect(await codeOf(take(where))).toBe(code);
  });

  it.each(['renew', 'release'])('one of many that is not theirs refuses the whole %s', async (verb) => {
    const url = `/v1/holders/h/${verb}`;
    expect(await codeOf(post(url, { claims: [lease('mine/a'), lease('mine/b')] }))).toBeUndefined();
    expect(await codeOf(post(url, { claims: [lease('mine/a'), lease('theirs/b')] }))).toBe('forbidden');
  });

  it('a renew of everything is told the prefix', async () => {
    await using server = recordingServer({ caller: { queuePrefix: 'mine/' } });
    await server.app.inject(post('/v1/holders/h/renew', { ttl_ms: 1000 }));
    expect(server.calls[0]?.args.slice(0, 3)).toEqual(['h', { ttl_ms: 1000 }, 'mine/']);
  });

  it('a scope that does not suffice is refused before the body is read', async () => {
    await using server = recordingServer({ caller: { scope: 'read', queuePrefix: 'mine/' } });
    const answer = await server.app.inject(post('/v1/take', '{'));
    expect(answer.json()).toMatchObject({ code: 'forbidden', required_scope: 'use' });
  });

  it.each([
    ['dead-letters', 'listDeadLetters'],
    ['blocked', 'listBlocked'],
  ])('the list of %s shows no more than the token may see', async (path, verb) => {
    await using server = recordingServer({
      caller: { queuePrefix: 'mine/' },
      answers: { listDeadLetters: () => Promise.resolve({ dead_letters: [], next_cursor: null }) },
    });
    const asked = async (query: string) => {
      server.calls.length = 0;
      const answer = await server.app.inject(`/v1/${path}?${query}`);
      expect(answer.statusCode).toBe(200);
      expect(server.calls.every((call) => call.verb === verb)).toBe(true);
      return (server.calls[0]?.args[0] as { prefix: string } | undefined)?.prefix;
    };
    expect(await asked('')).toBe('mine/');
    expect(await asked('prefix=mi')).toBe('mine/');
    expect(await asked('prefix=mine/a')).toBe('mine/a');
    expect(await asked('prefix=theirs')).toBeUndefined();
  });

  it.each(['mi', 'mine', 'theirs/q'])('the dead letters of queue %s are none of theirs', async (queue) => {
    await using server = recordingServer({ caller: { queuePrefix: 'mine/' } });
    const answer = await server.app.inject(`/v1/dead-letters?queue=${queue}`);
    expect([answer.json(), server.calls]).toEqual([{ dead_letters: [], next_cursor: null }, []]);
  });

  it('a route cannot be registered unless the names come from the schema that checks its body', async () => {
    const Body = z.strictObject({ queue: z.string() });
    const register = (app: HttpApp, body: z.ZodType | undefined) =>
      app.post(
        '/v1/new',
        {
          schema: { ...(body && { body }) },
          config: {
            operation: {
              id: 'new',
              summary: 's',
              tag: 'runs',
              needs: { scope: 'use', queues: namedInBody(Body, ({ queue }) => [queue]) },
              errors: [],
            },
          },
        },
        async () => ({}),
      );
    for (const body of [undefined, z.looseObject({})]) {
      await using server = recordingServer();
      expect(() => register(server.app, body)).toThrow('with the schema its queues are named in');
    }
    await using server = recordingServer({ caller: { queuePrefix: 'mine/' } });
    register(server.app, Body);
    const status = async (queue: string) => (await server.app.inject(post('/v1/new', { queue }))).statusCode;
    expect([await status('mine/q'), await status('q')]).toEqual([200, 403]);
  });
});
