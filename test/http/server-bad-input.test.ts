import type { InjectOptions } from 'fastify';
import { describe, expect, it } from 'vitest';
import { recordingServer } from './recording-server.ts';

const json = { 'content-type': 'application/json' };
const acquire = '/v1/queues/q/acquire';
const post = (url: string, payload: string, headers: Record<string, string> = json): InjectOptions => ({
  method: 'POST',
  url,
  payload,
  headers,
});
const get = (url: string): InjectOptions => ({ method: 'GET', url });
const nested = (depth: number) => `{"holder":"h","metadata":{"a":${'['.repeat(depth)}${']'.repeat(depth)}}}`;

const lease = '{"queue":"q","claim_id":"c","fencing_token":1}';
const thousandAndOne = (element: string) => `[${Array.from({ length: 1001 }, () => element).join(',')}]`;

/** What is refused of the calls about runs: where to, and the bodies. */
const runBodies: [path: string, bodies: string[]][] = [
  [
    '/v1/queues/q/enqueue',
    [
      '[]',
      '{"holder":"h"}',
      '{"payloads":1}',
      '{"claim_id":""}',
      '{"claim_id":".."}',
      '{"claim_id":"a b"}',
      '{"priority":1000001}',
      '{"priority":0.5}',
      '{"labels":{"a":1}}',
      String.raw`{"labels":{"a":"\u0000"}}`,
      '{"delay_ms":-1}',
      '{"delay_ms":31536000001}',
      '{"delay_ms":"5"}',
      '{"max_attempts":0}',
      '{"max_attempts":1001}',
      '{"max_attempts":null}',
      '{"max_age_ms":999}',
      '{"max_age_ms":31536000001}',
      '{"wait_ms":1}',
    ],
  ],
  [
    '/v1/queues/q/clean',
    [
      '{}',
      '{"holder":""}',
      '{"holder":"h","queue":"q"}',
      '{"holder":"h","max":0}',
      '{"holder":"h","max":1001}',
      '{"holder":"h","ttl_ms":999}',
      '{"holder":"h","wait_ms":60001}',
      '{"holder":"h","request_id":"a b"}',
    ],
  ],
  [
    '/v1/take',
    [
      '{"queue":"q"}',
      '{"holder":"h"}',
      '{"holder":"","queue":"q"}',
      '{"holder":"h","queue":"q","prefix":""}',
      '{"holder":"h","queue":"q","prefix":"q"}',
      '{"holder":"h","queue":""}',
      '{"holder":"h","queue":["q"]}',
      '{"holder":"h","prefix":"a b"}',
      '{"holder":"h","prefix":null}',
      '{"holder":"h","queue":"q","max":0}',
      '{"holder":"h","queue":"q","max":1001}',
      '{"holder":"h","queue":"q","ttl_ms":999}',
      '{"holder":"h","queue":"q","ttl_ms":86400001}',
      '{"holder":"h","queue":"q","wait_ms":60001}',
      '{"holder":"h","queue":"q","request_id":""}',
      '{"holder":"h","queue":"q","request_id":"a b"}',
      '{"holder":"h","queue":"q","claim_id":"c"}',
    ],
  ],
  [
    '/v1/holders/h/renew',
    [
      '{"claims":[]}',
      '{"claims":null}',
      `{"claims":${thousandAndOne(lease)}}`,
      '{"claims":[{"queue":"q","claim_id":"c"}]}',
      '{"claims":[{"queue":"q","claim_id":"c","fencing_token":0}]}',
      '{"claims":[{"queue":"q","claim_id":"c","fencing_token":1,"outcome":"success"}]}',
      '{"ttl_ms":999}',
      '{"holder":"h"}',
    ],
  ],
  [
    '/v1/holders/h/release',
    [
      '{}',
      '{"claims":[]}',
      `{"claims":${thousandAndOne(lease)}}`,
      '{"claims":[{"queue":"..","claim_id":"c","fencing_token":1}]}',
      '{"claims":[{"queue":"q","claim_id":"c","fencing_token":1,"outcome":"done"}]}',
      '{"claims":[{"queue":"q","claim_id":"c","fencing_token":1,"retry_after_ms":0}]}',
      '{"claims":[{"queue":"q","claim_id":"c","fencing_token":1,"outcome":"failure","retry_after_ms":0}]}',
      '{"claims":[{"queue":"q","claim_id":"c","fencing_token":1,"ttl_ms":1000}]}',
    ],
  ],
  [
    '/v1/queues/q/claims/c/release',
    [
      '{"fencing_token":1,"retry_after_ms":0}',
      '{"fencing_token":1,"outcome":"success","retry_after_ms":0}',
      '{"fencing_token":1,"outcome":"retry","retry_after_ms":-1}',
      '{"fencing_token":1,"outcome":"retry","retry_after_ms":31536000001}',
      `{"fencing_token":1,"error":"${'e'.repeat(4001)}"}`,
      String.raw`{"fencing_token":1,"error":"\u0000"}`,
      String.raw`{"fencing_token":1,"error":"\ud800"}`,
    ],
  ],
  ...['redrive', 'purge'].map((verb): [string, string[]] => [
    `/v1/queues/q/dead-letters/${verb}`,
    [
      '{"actor":"a"}',
      '{"all":true}',
      '{"claim_ids":["c"]}',
      '{"all":false,"actor":"a"}',
      '{"all":true,"claim_ids":["c"],"actor":"a"}',
      '{"claim_ids":[],"actor":"a"}',
      '{"claim_ids":["."],"actor":"a"}',
      `{"claim_ids":${thousandAndOne('"c"')},"actor":"a"}`,
      '{"all":true,"actor":"a","reason":"r"}',
    ],
  ]),
  ...['unblock', 'claims/c/retry', 'claims/c/skip'].map((verb): [string, string[]] => [
    `/v1/queues/q/${verb}`,
    ['{}', '{"reason":"r"}', '{"actor":""}', '{"actor":"a","reason":""}', '{"actor":"a","force":true}'],
  ]),
  [
    '/v1/failover/accept',
    ['{}', '{"actor":""}', '{"actor":"a","timeline":"2"}', '{"actor":"a","timeline":2}', '{"actor":"a","reason":"r"}'],
  ],
];
const runCalls = runBodies.flatMap(([path, bodies]) =>
  bodies.map((body): [string, InjectOptions, number, string] => [
    `${path} ${body.length > 100 ? `${body.slice(0, 100)}…` : body}`,
    post(path, body),
    400,
    'invalid_request',
  ]),
);

const refused: [title: string, request: InjectOptions, status: number, code: string][] = [
  ['text that is not JSON', post(acquire, '{"holder":'), 400, 'invalid_json'],
  ['bytes that are not UTF-8', { ...post(acquire, ''), payload: Buffer.from([0x22, 0xff, 0x22]) }, 400, 'invalid_json'],
  ['a field named twice', post(acquire, '{"holder":"a","holder":"b"}'), 400, 'invalid_json'],
  ['a field named twice inside', post(acquire, '{"holder":"a","metadata":{"x":{"y":1,"y":2}}}'), 400, 'invalid_json'],
  ['__proto__', post(acquire, '{"holder":"a","__proto__":{"x":1}}'), 400, 'invalid_json'],
  ['__proto__ inside metadata', post(acquire, '{"holder":"a","metadata":{"__proto__":{"x":1}}}'), 400, 'invalid_json'],
  ['constructor.prototype', post(acquire, '{"holder":"a","constructor":{"prototype":{}}}'), 400, 'invalid_json'],
  ['nesting deeper than 32', post(acquire, nested(31)), 400, 'invalid_json'],
  ['nesting without end', post(acquire, nested(20_000)), 400, 'invalid_json'],
  ['an unknown field', post(acquire, '{"holder":"a","priorty":1}'), 400, 'invalid_request'],
  ['a field of the wrong type', post(acquire, '{"holder":"a","ttl_ms":"30000"}'), 400, 'invalid_request'],
  ['a ttl out of range', post(acquire, '{"holder":"a","ttl_ms":999}'), 400, 'invalid_request'],
  ['a wait out of range', post(acquire, '{"holder":"a","wait_ms":60001}'), 400, 'invalid_request'],
  ['a missing required field', post(acquire, '{}'), 400, 'invalid_request'],
  ['an empty body', post(acquire, ''), 400, 'invalid_request'],
  ['no body and no type', { method: 'POST', url: acquire }, 400, 'invalid_request'],
  ['a body that is null', post(acquire, 'null'), 400, 'invalid_request'],
  ['a body that is a list', post(acquire, '[]'), 400, 'invalid_request'],
  ['NUL in metadata', post(acquire, String.raw`{"holder":"a","metadata":{"x":"\u0000"}}`), 400, 'invalid_request'],
  ['control characters in the holder', post(acquire, String.raw`{"holder":"a\nb"}`), 400, 'invalid_request'],
  ['half a surrogate pair', post(acquire, String.raw`{"holder":"\ud800"}`), 400, 'invalid_request'],
  ['a cancel with a field', post('/v1/queues/q/claims/c/cancel', '{"x":1}'), 400, 'invalid_request'],
  ['a body for a DELETE', { ...post('/v1/queues/q', '{"force":true}'), method: 'DELETE' }, 400, 'invalid_request'],
  ['a token of zero', post('/v1/queues/q/claims/c/renew', '{"fencing_token":0}'), 400, 'invalid_request'],
  [
    'a token beyond 2^53',
    post('/v1/queues/q/claims/c/renew', '{"fencing_token":9007199254740993}'),
    400,
    'invalid_request',
  ],
  [
    'a form',
    post(acquire, 'holder=a', { 'content-type': 'application/x-www-form-urlencoded' }),
    415,
    'unsupported_media_type',
  ],
  ['plain text', post(acquire, '{"holder":"a"}', { 'content-type': 'text/plain' }), 415, 'unsupported_media_type'],
  [
    'a media type that is none',
    post(acquire, '{"holder":"a"}', { 'content-type': 'json' }),
    415,
    'unsupported_media_type',
  ],
  ['a body above the limit', post(acquire, JSON.stringify({ holder: 'a'.repeat(70_000) })), 413, 'body_too_large'],
  ['an unknown route', get('/v2/queues'), 404, 'route_not_found'],
  ['a name with a raw slash', post('/v1/queues/team/repo/acquire', '{"holder":"a"}'), 404, 'route_not_found'],
  ['an unknown route with a bad body', post('/nope', '{', { 'content-type': 'text/plain' }), 404, 'route_not_found'],
  ['a wrong method', { method: 'PATCH', url: '/v1/queues/q' }, 405, 'method_not_allowed'],
  ['a name of 201 characters', get(`/v1/queues/${'a'.repeat(201)}`), 400, 'invalid_request'],
  ['a name of 201 encoded characters', get(`/v1/queues/${'%2F'.repeat(201)}`), 400, 'invalid_request'],
  ['a name of dots only', get('/v1/queues/%2E%2E%2E'), 400, 'invalid_request'],
  ['a name with a space', get('/v1/queues/a%20b'), 400, 'invalid_request'],
  ['an empty name', get('/v1/queues/'), 400, 'invalid_request'],
  ['a path encoded badly', get('/v1/queues/%zz'), 400, 'invalid_request'],
  ['a path that decodes to broken UTF-8', get('/v1/queues/%ff'), 400, 'invalid_request'],
  ['a query encoded badly', get('/v1/queues?cursor=%zz'), 400, 'invalid_request'],
  ['an unknown query parameter', get('/v1/queues?limits=1'), 400, 'invalid_request'],
  ['a query parameter given twice', get('/v1/queues?limit=1&limit=2'), 400, 'invalid_request'],
  [
    'a query where none is known',
    { ...post(acquire, '{"holder":"a"}'), url: `${acquire}?wait_ms=1` },
    400,
    'invalid_request',
  ],
  ['a limit of zero', get('/v1/queues?limit=0'), 400, 'invalid_request'],
  ['a limit of 1001', get('/v1/queues?limit=1001'), 400, 'invalid_request'],
  ['a page of 101 dead letters', get('/v1/dead-letters?limit=101'), 400, 'invalid_request'],
  ['dead letters of queue and prefix', get('/v1/dead-letters?queue=q&prefix=p'), 400, 'invalid_request'],
  ['a page of 101 blocked queues', get('/v1/blocked?limit=101'), 400, 'invalid_request'],
  ['blocked queues of one name', get('/v1/blocked?queue=q'), 400, 'invalid_request'],
  ['a holder with a control character', post('/v1/holders/a%0Ab/renew', '{}'), 400, 'invalid_request'],
  ['a holder of 201 characters', post(`/v1/holders/${'a'.repeat(201)}/renew`, '{}'), 400, 'invalid_request'],
  ['a take without a body', { method: 'POST', url: '/v1/take' }, 400, 'invalid_request'],
  ['a take by GET', get('/v1/take'), 405, 'method_not_allowed'],
  ['a number in hexadecimal', get('/v1/queues?limit=0x10'), 400, 'invalid_request'],
  ['an empty number', get('/v1/queues/q/claims/c?wait_ms='), 400, 'invalid_request'],
  ['a check without its token', get('/v1/queues/q/check?slot=1'), 400, 'invalid_request'],
  ['force that is neither true nor false', { method: 'DELETE', url: '/v1/queues/q?force=1' }, 400, 'invalid_request'],
  ['a URL above the limit', get(`/v1/queues?cursor=${'a'.repeat(9000)}`), 414, 'uri_too_long'],
  ['a name above the URL limit', get(`/v1/queues/${'a'.repeat(9000)}`), 414, 'uri_too_long'],
  ...runCalls,
  ...['1', 'W/"1"', '"x"', '"1", "2"', ''].map((tag): [string, InjectOptions, number, string] => [
    `If-Match: ${tag}`,
    { method: 'PUT', url: '/v1/queues/q', payload: {}, headers: { 'if-match': tag } },
    400,
    'invalid_request',
  ]),
];

describe('a request that does not fit is refused before any verb is called', () => {
  it.each(refused)('%s', async (_title, request, status, code) => {
    await using server = recordingServer();
    const answer = await server.app.inject(request);
    expect({ status: answer.statusCode, code: answer.json<{ code: string }>().code }).toEqual({ status, code });
    expect(answer.headers).toMatchObject({
      'content-type': 'application/problem+json',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
    });
    expect(answer.json()).toMatchObject({ type: `urn:signalbox:error:${code}`, status });
    expect(server.calls).toEqual([]);
  });
});

describe('what is wrong is said in full and in short', () => {
  it('all faults of a body are listed at once', async () => {
    await using server = recordingServer();
    const answer = await server.app.inject(post(acquire, '{"ttl_ms":1,"mode":"x","labels":{"a/b":1},"nope":1}'));
    const { errors } = answer.json<{ errors: { in: string; path: string }[] }>();
    expect(errors.map(({ path }) => path).sort()).toEqual(['/holder', '/labels/a~1b', '/mode', '/nope', '/ttl_ms']);
    expect(new Set(errors.map((fault) => fault.in))).toEqual(new Set(['body']));
  });

  it('a mistake of many kilobytes gets an answer of few', async () => {
    await using server = recordingServer();
    const fields = Object.fromEntries(
      Array.from({ length: 100 }, (_, i) => [`${i}`.padEnd(500, 'x'), 'y'.repeat(100)]),
    );
    const answer = await server.app.inject(post(acquire, JSON.stringify(fields)));
    expect(answer.statusCode).toBe(400);
    expect(answer.body.length).toBeLessThan(8000);
  });

  it('a wrong method is told the right ones', async () => {
    await using server = recordingServer();
    const allow = async (method: 'PATCH' | 'GET', url: string) =>
      (await server.app.inject({ method, url })).headers['allow'];
    expect(await allow('PATCH', '/v1/queues/q')).toBe('DELETE, GET, HEAD, PUT');
    expect(await allow('GET', '/v1/queues/team%2Frepo/acquire')).toBe('POST');
    expect(await allow('PATCH', '/readyz')).toBe('GET, HEAD');
  });
});

describe('names reach the verbs decoded', () => {
  it.each([
    ['team%2Frepo', 'team/repo'],
    ['a:b@c', 'a:b@c'],
    ['a%3Ab%40c', 'a:b@c'],
    ['%2F'.repeat(200), '/'.repeat(200)],
  ])('%s', async (path, name) => {
    await using server = recordingServer();
    const answer = await server.app.inject(get(`/v1/queues/${path}/claims/${path}`));
    expect(answer.statusCode).toBe(200);
    expect(server.calls[0]?.args.slice(0, 3)).toEqual([name, name, 0]);
  });

  it('a name encoded twice is not decoded twice', async () => {
    await using server = recordingServer();
    expect((await server.app.inject(get('/v1/queues/team%252Frepo'))).statusCode).toBe(400);
    expect(server.calls).toEqual([]);
  });
});
