import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { aBuild, aMergeQueue, MergeQueueClient, type MergeReply } from '../support/merge-queue-client.ts';
import { startTestApp, type TestApp, withoutLeader } from '../support/test-app.ts';

let database: TestDatabase;
let app: TestApp;
let strict: TestApp;
let client: MergeQueueClient;

beforeAll(async () => {
  database = await freshDatabase();
  await withoutLeader(database);
  // The first build of a queue gets the lease at once.
  app = await startTestApp(database, { MERGE_QUEUE_EXPECTED_COUNT: '1' });
  strict = await startTestApp(database, { MERGE_QUEUE_AUTO_CREATE: 'false' });
  client = new MergeQueueClient(app.url);
});
afterAll(async () => {
  await strict[Symbol.asyncDispose]();
  await app[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

const nothing = (queue: string) =>
  database.query('select from signalbox.merge_queues where queue = $1', [`merge-queue/${queue}`]);

const required = ['HeadSHA', 'HeadRef', 'Priority'].map((name) => ({
  failed_field: `acquireRequest.${name}`,
  tag: 'required',
  value: '',
}));

function isJson({ headers }: MergeReply): void {
  expect(headers.get('content-type')).toBe('application/json');
}

describe('2. paths', () => {
  it('list, show and clear answer JSON without a charset, with a slash at the end too, and HEAD', async () => {
    const queue = aMergeQueue();
    for (const path of ['/merge-queue', '/merge-queue/', `/merge-queue/${queue}`, `/merge-queue/${queue}/?a=b`]) {
      const shown = await client.ask('GET', path);
      expect(shown.status, path).toBe(200);
      isJson(shown);
      const head = await client.ask('HEAD', path);
      expect([head.status, head.text, head.headers.get('content-type')], path).toEqual([200, '', 'application/json']);
    }
    expect((await client.ask('DELETE', `/merge-queue/${queue}/`)).status).toBe(200);
  });

  it('a base ref with slashes is percent-encoded, W15; plain slashes are another path', async () => {
    const repository = aMergeQueue().replace(/\/main$/, '');
    const build = aBuild(1, { head_ref: 'gh-readonly-queue/release/1.0/pr-1-abc' });
    const acquired = await client.acquire(`${repository}/release%2F1.0`, build);
    expect([acquired.status, acquired.body.request?.status]).toEqual([200, 'acquired']);
    expect((await client.ask('GET', '/merge-queue')).body).toHaveProperty(
      `${repository.replace('/', ':')}:release/1.0`,
    );
    const plain = await client.ask('GET', `/merge-queue/${repository}/release/1.0`);
    expect([plain.status, plain.text]).toEqual([404, `Cannot GET /merge-queue/${repository}/release/1.0`]);
  });

  it('names are compared with their case', async () => {
    const queue = aMergeQueue();
    await client.acquire(queue, aBuild(1));
    expect((await client.show(queue.replace('main', 'Main'))).body['acquired']).toBeNull();
  });

  it('an unknown route is 404 in text, HTML-escaped and without its query', async () => {
    const answer = await client.ask('GET', `/merge-queue/a/b/c/'d'?token_of=x`);
    expect([answer.status, answer.text]).toEqual([404, 'Cannot GET /merge-queue/a/b/c/&#39;d&#39;']);
    expect(answer.headers.get('content-type')).toBe('text/plain; charset=utf-8');
    const posted = await client.ask('POST', '/merge-queue/k8s/liveness', { body: '{"a"' });
    expect([posted.status, posted.text]).toEqual([404, 'Cannot POST /merge-queue/k8s/liveness']);
  });

  it.each([
    ['GET', '/acquire', 'POST'],
    ['DELETE', '/release/', 'POST'],
    ['POST', '', 'GET, HEAD, DELETE'],
    ['PUT', '/', 'GET, HEAD, DELETE'],
  ])('a wrong method (%s %s) is 405 in text with Allow: %s', async (method, end, allow) => {
    const answer = await client.ask(method, `/merge-queue/${aMergeQueue()}${end}`);
    expect([answer.status, answer.text, answer.headers.get('allow')]).toEqual([405, 'Method Not Allowed', allow]);
    expect(answer.headers.get('content-type')).toBe('text/plain; charset=utf-8');
  });

  it.each([
    'a%00b/r/main',
    'o/r%20r/main',
    'o/r/%C3%BC',
    'o%2Fp/r/main',
    `o/r/${'b'.repeat(190)}`,
    'o/r/%zz',
    'o/r/%ff',
  ])('what can name no merge queue is an unknown provider: %s', async (queue) => {
    for (const answer of [await client.show(queue), await client.acquire(queue, aBuild(1))]) {
      expect([answer.status, answer.body]).toEqual([404, { error: 'unknown provider' }]);
      isJson(answer);
    }
  });
});

describe('2.1 request bodies', () => {
  it.each(['json', 'application/json', 'APPLICATION/JSON; charset=utf-8', 'application/vnd.x+json', 'text/json;a="b'])(
    'content type %s is JSON',
    async (type) => {
      expect((await client.acquire(aMergeQueue(), aBuild(1), { type })).status).toBe(200);
    },
  );

  it.each(['application/x-www-form-urlencoded', 'multipart/form-data; boundary=x'])(
    'content type %s is a form, which lacks every field',
    async (type) => {
      const answer = await client.acquire(aMergeQueue(), 'head_sha=a&priority=1', { type });
      expect([answer.status, answer.body]).toEqual([400, { error: 'Invalid request', error_context: required }]);
    },
  );

  it.each(['text/plain', 'application/xml', 'jsonp', null])('content type %s is unprocessable', async (type) => {
    const answer = await client.acquire(aMergeQueue(), aBuild(1), { type });
    expect([answer.status, answer.body]).toEqual([422, { error: 'Unprocessable Entity' }]);
    isJson(answer);
  });

  it('no body and no type is unprocessable too', async () => {
    const answer = await client.ask('POST', `/merge-queue/${aMergeQueue()}/acquire`);
    expect([answer.status, answer.body]).toEqual([422, { error: 'Unprocessable Entity' }]);
  });

  const fields = '"head_sha":"a","head_ref":"gh-readonly-queue/main/pr-1-abc"';
  it.each([
    '',
    '{"head_sha":',
    `{${fields},"priority":1} x`,
    `\ufeff{${fields},"priority":1}`,
    '[]',
    '"text"',
    '7',
    `{${fields},"priority":"1"}`,
    `{${fields},"priority":1.0}`,
    `{${fields},"priority":1e0}`,
    `{${fields},"priority":0.5}`,
    `{${fields},"priority":true}`,
    `{${fields},"priority":{}}`,
    `{${fields},"priority":9223372036854775808}`,
    `{${fields},"priority":-9223372036854775809}`,
    // W14: not exact as a JSON number, so refused like what does not fit 64 bits.
    `{${fields},"priority":9007199254740992}`,
    '{"head_sha":1,"priority":0}',
    '{"head_sha":["a"]}',
    '{"head_ref":false}',
    '['.repeat(20_000),
  ])('422 with a message and no context: %s', async (body) => {
    const queue = aMergeQueue();
    const answer = await client.acquire(queue, body);
    expect(answer.status).toBe(422);
    expect(Object.keys(answer.body)).toEqual(['error']);
    expect(answer.body.error).not.toBe('');
    expect((await nothing(queue)).rowCount).toBe(0);
  });

  it('keys match in any case, the last one wins, unknown ones are ignored, null is missing', async () => {
    const body = `{"HEAD_SHA":"first","Head_Sha":"second","head_sha":null,"Head_Ref":"gh-readonly-queue/x/pr-7-AbC",
      "PRIORITY":3,"status":["ignored"],"more":{"a":[1.5]},"__proto__":{"priority":9}}`;
    const { status, body: answer } = await client.acquire(aMergeQueue(), body);
    expect([status, answer.request]).toEqual([
      200,
      { head_sha: 'second', head_ref: 'gh-readonly-queue/x/pr-7-AbC', priority: 3, status: 'acquired' },
    ]);
  });

  it('null as the body lacks every field', async () => {
    const answer = await client.acquire(aMergeQueue(), 'null');
    expect([answer.status, answer.body.error_context]).toEqual([400, required]);
  });

  it.each<[field: string, tag: string, value: string, body: Record<string, unknown>]>([
    ['HeadSHA', 'required', '', { head_sha: '' }],
    ['HeadSHA', 'max', '1000', { head_sha: 'x'.repeat(1001) }],
    ['HeadSHA', 'storable', '', { head_sha: 'a\0b' }],
    ['HeadSHA', 'storable', '', { head_sha: '\ud800' }],
    ['HeadRef', 'required', '', { head_ref: '' }],
    ['HeadRef', 'ghTempBranchRef', '', { head_ref: 'main' }],
    ['HeadRef', 'ghTempBranchRef', '', { head_ref: 'refs/heads/gh-readonly-queue/main/pr-1-abc' }],
    ['HeadRef', 'ghTempBranchRef', '', { head_ref: 'gh-readonly-queue/main/pr-1-xyz' }],
    ['HeadRef', 'ghTempBranchRef', '', { head_ref: 'gh-readonly-queue/main/pr-x-abc' }],
    ['HeadRef', 'ghTempBranchRef', '', { head_ref: 'gh-readonly-queue/main/pr-1-abc\n' }],
    ['HeadRef', 'ghTempBranchRef', '', { head_ref: 'gh-readonly-queue/a/b/pr-1-abc' }],
    ['HeadRef', 'ghTempBranchRef', '', { head_ref: 'gh-readonly-queue//pr-1-abc' }],
    // W14: it blinded the list, and the lease was given all the same.
    ['HeadRef', 'ghTempBranchRef', '', { head_ref: 'gh-readonly-queue/main/pr-9007199254740992-abc' }],
    ['HeadRef', 'max', '1000', { head_ref: `gh-readonly-queue/main/pr-1-${'a'.repeat(1000)}` }],
    ['Priority', 'required', '', { priority: 0 }],
    ['Priority', 'min', '1', { priority: -1 }],
    ['RequestID', 'min', '1', { request_id: '' }],
    ['RequestID', 'max', '200', { request_id: 'x'.repeat(201) }],
    ['RequestID', 'string', '', { request_id: 7 }],
    ['WaitMS', 'max', '60000', { wait_ms: 60_001 }],
    ['WaitMS', 'min', '0', { wait_ms: -1 }],
    ['WaitMS', 'int', '', { wait_ms: '1' }],
    ['WaitMS', 'int', '', { wait_ms: 1.5 }],
    ['HoldTTLMS', 'min', '1', { hold_ttl_ms: 0 }],
    ['HoldTTLMS', 'max', '2592000000', { hold_ttl_ms: 2_592_000_001 }],
    ['FencingToken', 'min', '1', { fencing_token: 0 }],
    ['FencingToken', 'int', '', { fencing_token: {} }],
  ])('acquireRequest.%s fails %s %s: %j', async (field, tag, value, wrong) => {
    const queue = aMergeQueue();
    const answer = await client.acquire(queue, aBuild(1, wrong));
    expect([answer.status, answer.body]).toEqual([
      400,
      { error: 'Invalid request', error_context: [{ failed_field: `acquireRequest.${field}`, tag, value }] },
    ]);
    isJson(answer);
    expect((await nothing(queue)).rowCount).toBe(0);
  });

  it('release requires a status, success or failure; ours takes cancelled too, W11', async () => {
    const refused = async (more: object) =>
      (await client.release(aMergeQueue(), { ...aBuild(1), ...more })).body.error_context;
    const failed_field = 'releaseRequest.Status';
    expect(await refused({})).toEqual([{ failed_field, tag: 'required', value: '' }]);
    for (const status of ['SUCCESS', 'completed', ' '])
      expect(await refused({ status })).toEqual([{ failed_field, tag: 'oneof', value: 'success failure' }]);
    expect(await refused({ status: 'cancelled' })).toBe('no lease acquired');
    expect((await client.release(aMergeQueue(), { ...aBuild(1), status: 1 })).status).toBe(422);
  });

  it('a release names all that fails, in the order of its fields', async () => {
    const { body } = await client.release(aMergeQueue(), '{"priority":-4,"status":"done"}');
    expect(body.error_context).toEqual([
      { failed_field: 'releaseRequest.HeadSHA', tag: 'required', value: '' },
      { failed_field: 'releaseRequest.HeadRef', tag: 'required', value: '' },
      { failed_field: 'releaseRequest.Priority', tag: 'min', value: '1' },
      { failed_field: 'releaseRequest.Status', tag: 'oneof', value: 'success failure' },
    ]);
  });

  it('renew requires the sha and the token', async () => {
    const { status, body } = await client.renew(aMergeQueue(), '{}');
    expect([status, body.error_context]).toEqual([
      400,
      ['HeadSHA', 'FencingToken'].map((name) => ({ failed_field: `renewRequest.${name}`, tag: 'required', value: '' })),
    ]);
  });

  it('white space is a sha, and hex digits may be capitals', async () => {
    const build = aBuild(1, { head_sha: ' \n', head_ref: 'gh-readonly-queue/ x /pr-01-ABCdef' });
    const { status, body } = await client.acquire(aMergeQueue(), build);
    expect([status, body.request, body.stacked_pull_requests]).toEqual([
      200,
      { head_sha: ' \n', head_ref: build.head_ref, priority: 1, status: 'acquired' },
      [{ number: 1 }],
    ]);
  });

  it('the base in a head ref is not compared with the base ref', async () => {
    const build = aBuild(1, { head_ref: 'gh-readonly-queue/elsewhere/pr-1-abc' });
    expect((await client.acquire(aMergeQueue(), build)).status).toBe(200);
  });

  it('a body that is too large is 413 in text', async () => {
    const answer = await client.acquire(aMergeQueue(), 'x'.repeat(4_194_305));
    expect([answer.status, answer.text]).toEqual([413, 'Request Entity Too Large']);
  });

  it('the body of a DELETE is not looked at', async () => {
    const queue = aMergeQueue();
    expect((await client.ask('DELETE', `/merge-queue/${queue}`, { body: '{"a"', type: 'text/plain' })).status).toBe(
      200,
    );
  });
});

describe('2.3 and 10.8: an unknown provider comes before its body', () => {
  it('on all calls, where queues are not made on first use', async () => {
    const known = new MergeQueueClient(strict.url);
    const queue = aMergeQueue();
    const answers = [
      await known.show(queue),
      await known.ask('DELETE', `/merge-queue/${queue}`),
      ...(await Promise.all(
        ['{"a"', '', aBuild(1), aBuild(1, { status: 'success' }), { head_sha: 'a', fencing_token: 1 }].flatMap(
          (body) => [known.acquire(queue, body), known.release(queue, body), known.renew(queue, body)],
        ),
      )),
      await known.acquire(queue, 'a=b', { type: 'application/x-www-form-urlencoded' }),
      await known.acquire(queue, 'a', { type: null }),
    ];
    for (const { status, body } of answers) expect([status, body]).toEqual([404, { error: 'unknown provider' }]);
  });

  it('once it is configured it is known, and its body is looked at', async () => {
    const known = new MergeQueueClient(strict.url);
    const queue = aMergeQueue();
    const made = await known.ask('PUT', `/v1/merge-queues/${queue}`, {
      body: { expected_count: 1 },
      type: 'application/json',
    });
    expect(made.status).toBe(200);
    expect((await known.acquire(queue, '{"a"')).status).toBe(422);
    expect((await known.acquire(queue, '{}')).status).toBe(400);
    expect((await known.acquire(queue, aBuild(1))).body.request?.status).toBe('acquired');
  });
});
