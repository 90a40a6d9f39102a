import { type Agent, request } from 'node:http';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { errorCatalogue } from '../../src/protocol/errors.ts';
import { badCalls, type Call } from '../support/bad-calls.ts';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { lineUp, startTestApp, type TestApp, withoutLeader } from '../support/test-app.ts';

let database: TestDatabase;
let replica: TestApp;
let digestSql: string;
let token: number;
beforeAll(async () => {
  database = await freshDatabase();
  await withoutLeader(database);
  replica = await startTestApp(database);
  const { client } = replica;
  token = (await client.hold('busy', { claim_id: 'held', ttl_ms: 300_000 })).fencing_token;
  await lineUp(client, 'busy', 'waits');
  const ended = await client.hold('free', { claim_id: 'ended' });
  await client.release(ended);
  digestSql = await digestQuery();
});
afterAll(async () => {
  await replica[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

/** One statement whose answer changes with any row of any table but those that beat on their own. */
async function digestQuery(): Promise<string> {
  const { rows } = await database.query<{ name: string }>(
    `select relname as name from pg_class
     where relnamespace = 'signalbox'::regnamespace and relkind = 'r'
       and relname not in ('replicas', 'chores', 'orchestrator_lock', 'terms') order by 1`,
  );
  expect(rows.length).toBeGreaterThan(5);
  const parts = rows.map(
    ({ name }) =>
      `select '${name}' as t, md5(coalesce(string_agg(r::text, e'\\n' order by r::text), '')) as d from signalbox."${name}" r`,
  );
  return `select t, d from (${parts.join(' union all ')}) x order by t`;
}
const digest = async () => (await database.query<{ t: string; d: string }>(digestSql)).rows;

/** Sends the bytes as they are; fetch would mend the path. */
function send({ method, path, body, type }: Call, agent: Agent | false = false) {
  return new Promise<{ status: number; type: string | undefined; body: { code?: string; status?: number } }>(
    (resolve, reject) => {
      const headers = body === undefined ? {} : { 'content-type': type ?? 'application/json' };
      const call = request(replica.url, { method, path, agent, headers }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
        response.on('error', reject).on('end', () => {
          const answer = JSON.parse(text) as { code?: string };
          resolve({ status: response.statusCode ?? 0, type: response.headers['content-type'], body: answer });
        });
      });
      call.on('error', reject);
      call.end(body);
    },
  );
}

async function isRefused(call: Call): Promise<void> {
  const answer = await send(call);
  expect(answer.status).toBeGreaterThanOrEqual(400);
  expect(answer.status).toBeLessThan(500);
  expect(answer.type).toBe('application/problem+json');
  const known = errorCatalogue[answer.body.code as keyof typeof errorCatalogue] as { status: number } | undefined;
  expect(known?.status).toBe(answer.status);
}

const { known, aKnown, asJson, badBody, badOperation, badBytes, badPath, badQuery, badMeaning } = badCalls(() => token);

describe('bad input is refused with a 4xx and a code of the catalogue, and no row changes', () => {
  it.each<[what: string, calls: fc.Arbitrary<Call>, runs: number]>([
    ['a body with one thing wrong', badBody, 400],
    ['bytes that are no JSON object', badBytes, 150],
    ['a name that is none in the path', badPath, 200],
    ['a query that does not fit', badQuery, 100],
    ['what the database refuses', badMeaning, 200],
  ])('%s', async (_what, calls, numRuns) => {
    const before = await digest();
    await fc.assert(fc.asyncProperty(calls, isRefused), { numRuns });
    // Checked call by call only if something changed at all: the digest is dearer than the call.
    if (JSON.stringify(await digest()) === JSON.stringify(before)) return;
    await fc.assert(
      fc.asyncProperty(calls, async (call) => {
        const present = await digest();
        await isRefused(call);
        expect(await digest()).toEqual(present);
      }),
      { numRuns },
    );
    expect(await digest()).toEqual(before);
  });

  it('operations of a batch, each by itself', async () => {
    const before = await digest();
    await fc.assert(
      fc.asyncProperty(fc.array(badOperation, { minLength: 1, maxLength: 10 }), async (operations) => {
        const { status, body } = await replica.client.batch(operations);
        expect(status).toBe(200);
        expect(body.results?.map((result) => [result.status, result.body.code])).toEqual(
          operations.map(() => [400, 'invalid_request']),
        );
      }),
      { numRuns: 300 },
    );
    expect(await digest()).toEqual(before);
  });

  it('bodies of 1 MiB', async () => {
    const before = await digest();
    const mebibyte = 'x'.repeat(1_048_576);
    for (const call of known) {
      await isRefused(asJson(call, { ...call.body(), metadata: { text: mebibyte } }));
      await isRefused({ method: call.method, path: call.path, body: mebibyte });
    }
    expect(await digest()).toEqual(before);
  });
});

describe('the digest', () => {
  it('sees what a good call changes', async () => {
    const before = await digest();
    expect((await send({ method: 'PUT', path: '/v1/queues/seen', body: '{}' })).status).toBe(200);
    expect(await digest()).not.toEqual(before);
  });
});

describe('any JSON at all', () => {
  it('never meets a defect of ours', async () => {
    await fc.assert(
      fc.asyncProperty(
        aKnown,
        fc.jsonValue(),
        fc.dictionary(fc.string(), fc.jsonValue()),
        async (call, value, more) => {
          const fields = Object.keys(call.bad);
          const body = Object.fromEntries(fields.map((name) => [name, value]));
          for (const candidate of [value, more, body, { ...call.body(), ...more }]) {
            const { status } = await send(asJson({ ...call, path: call.path.replace('busy', 'junk') }, candidate));
            expect(status).toBeLessThan(500);
          }
        },
      ),
      { numRuns: 100 },
    );
  });
});
