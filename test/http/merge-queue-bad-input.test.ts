import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { aBuild, aMergeQueue, MergeQueueClient, type MergeReply } from '../support/merge-queue-client.ts';
import { startTestApp, type TestApp, withoutLeader } from '../support/test-app.ts';

let database: TestDatabase;
let app: TestApp;
let client: MergeQueueClient;
let held: string;
let token: number;

beforeAll(async () => {
  database = await freshDatabase();
  await withoutLeader(database);
  app = await startTestApp(database, { MERGE_QUEUE_EXPECTED_COUNT: '2' });
  client = new MergeQueueClient(app.url);
  held = aMergeQueue();
  await client.acquire(held, aBuild(1));
  token = (await client.acquire(held, aBuild(2))).body.fencing_token ?? 0;
});
afterAll(async () => {
  await app[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

async function rows(): Promise<unknown> {
  const { rows: all } = await database.query(
    `select 'queue' as what, q::text as is from signalbox.merge_queues q
     union all select 'request', r::text from signalbox.merge_requests r
     union all select 'event', e::text from signalbox.events e
     union all select 'history', h::text from signalbox.history h order by 1, 2`,
  );
  return all;
}

/** Refused in the words of mq-lease-service, whatever it was. */
function isRefused({ status, body, headers }: MergeReply): void {
  expect([400, 404, 409, 413, 422]).toContain(status);
  if (status === 413) return;
  expect(headers.get('content-type')).toBe('application/json');
  expect(typeof body.error).toBe('string');
  expect(Object.keys(body).filter((name) => name !== 'error' && name !== 'error_context')).toEqual([]);
}

const verbs = fc.constantFrom('acquire', 'release', 'renew');
const goodOf = (verb: string) =>
  verb === 'renew'
    ? { head_sha: 'sha of 2', fencing_token: token }
    : { ...aBuild(2), fencing_token: token, status: 'failure', wait_ms: 0 };
const unstorable = fc.constantFrom('', 'a\0b', '\ud800', 'x'.repeat(1001), '\u4e2d'.repeat(334));
const noText = fc.oneof(fc.integer(), fc.boolean(), fc.constant({}), fc.constant(['a']), fc.constant(null));
const noNumber = fc.oneof(
  fc.string(),
  fc.boolean(),
  fc.constantFrom<unknown>({}, [1], null, 0, -1, 0.5, 2 ** 53, 1e300, -1e300),
);
/** Fields of acquire and release with what they may never be. */
const bad: Readonly<Record<string, fc.Arbitrary<unknown>>> = {
  head_sha: fc.oneof(unstorable, noText),
  head_ref: fc.oneof(unstorable, noText, fc.string(), fc.constantFrom('gh-readonly-queue/a/b/pr-1-abc')),
  priority: noNumber,
};
const oneWrong = fc
  .constantFrom(...Object.entries(bad))
  .chain(([field, values]) =>
    fc.tuple(fc.constantFrom('acquire', 'release'), values).map(([verb, value]) => ({ verb, field, value })),
  );

describe('bad input is refused in the wire of mq-lease-service, and no row changes', () => {
  it('one field is wrong', async () => {
    const before = await rows();
    await fc.assert(
      fc.asyncProperty(oneWrong, async ({ verb, field, value }) => {
        isRefused(
          await client.ask('POST', `/merge-queue/${held}/${verb}`, { body: { ...goodOf(verb), [field]: value } }),
        );
      }),
      { numRuns: 300 },
    );
    expect(await rows()).toEqual(before);
  });

  it('the bytes are no JSON object', async () => {
    const before = await rows();
    const broken = verbs.chain((verb) => {
      const text = JSON.stringify(goodOf(verb));
      return fc
        .oneof(
          fc.integer({ min: 0, max: text.length - 1 }).map((length) => Buffer.from(text.slice(0, length))),
          fc.constantFrom('nul', '[]', '"a"', '1', 'true', `${text}x`, `[${text}]`).map((it) => Buffer.from(it)),
          fc.uint8Array({ minLength: 1, maxLength: 50 }).map((bytes) => Buffer.from([0xff, ...bytes])),
        )
        .map((body) => ({ verb, body }));
    });
    await fc.assert(
      fc.asyncProperty(broken, async ({ verb, body }) => {
        isRefused(await client.ask('POST', `/merge-queue/${held}/${verb}`, { body }));
      }),
      { numRuns: 200 },
    );
    expect(await rows()).toEqual(before);
  });

  it('any JSON at all never meets a defect of ours', async () => {
    await fc.assert(
      fc.asyncProperty(verbs, fc.jsonValue(), fc.dictionary(fc.string(), fc.jsonValue()), async (verb, value, more) => {
        const queue = aMergeQueue();
        const fields = Object.fromEntries(Object.keys(goodOf(verb)).map((name) => [name, value]));
        for (const body of [JSON.stringify(value), more, fields]) {
          const { status } = await client.ask('POST', `/merge-queue/${queue}/${verb}`, { body });
          expect(status).toBeLessThan(500);
        }
      }),
      { numRuns: 100 },
    );
  });
});

describe('whatever text is taken can be kept', () => {
  it('from registration to history', async () => {
    const sha = fc.oneof(
      fc.string({ minLength: 1, maxLength: 100, unit: 'binary' }),
      fc.string({
        minLength: 300,
        maxLength: 333,
        unit: fc.integer({ min: 0x4e00, max: 0x9fff }).map((code) => String.fromCharCode(code)),
      }),
    );
    const requestId = fc.string({ minLength: 1, maxLength: 60, unit: 'binary' });
    await fc.assert(
      fc.asyncProperty(sha, requestId, async (head_sha, request_id) => {
        const queue = aMergeQueue();
        const build = aBuild(1, { head_sha, request_id, head_ref: `gh-readonly-queue/${'a'.repeat(500)}/pr-1-abc` });
        await client.acquire(queue, aBuild(2, { head_sha: `other ${head_sha}`.slice(0, 300) }));
        const registered = await client.acquire(queue, build);
        expect(registered.status).toBe(head_sha.includes('\0') || request_id.includes('\0') ? 400 : 200);
        if (registered.status !== 200) return;
        expect(registered.body.request?.head_sha).toBe(head_sha);
        expect((await client.show(queue)).text).toContain(JSON.stringify(head_sha));
        expect((await client.ask('DELETE', `/merge-queue/${queue}`)).status).toBe(200);
        const { rowCount } = await database.query('select from signalbox.history where queue = $1 and claim_id = $2', [
          `merge-queue/${queue}`,
          head_sha,
        ]);
        expect(rowCount).toBe(1);
      }),
      { numRuns: 100 },
    );
  });
});
