import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Scope } from '../../src/protocol/access.ts';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { anId, type BatchResult } from '../support/http-client.ts';
import { withoutLeader } from '../support/test-app.ts';
import { aToken, type MadeToken, startTokenApp, type TokenApp } from '../support/token-app.ts';

let database: TestDatabase;
let app: TokenApp;
let tokens: Record<Scope, MadeToken>;
let mine: MadeToken;
let readsMine: MadeToken;
beforeAll(async () => {
  database = await freshDatabase();
  await withoutLeader(database);
  // Before the replica reads them: it hears of later ones when it is told.
  tokens = {
    read: await aToken(database, { scope: 'read' }),
    use: await aToken(database, { scope: 'use' }),
    admin: await aToken(database),
  };
  mine = await aToken(database, { prefix: 'mine/' });
  readsMine = await aToken(database, { scope: 'read', prefix: 'mine/' });
  app = await startTokenApp(database);
});
afterAll(async () => {
  await app[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

async function batch(token: MadeToken, operations: readonly object[]): Promise<readonly BatchResult[]> {
  const answer = await app.ask('POST', '/v1/batch', { token, body: { operations } });
  expect(answer.status).toBe(200);
  return (JSON.parse(answer.text) as { results: readonly BatchResult[] }).results;
}
const outcomes = (results: readonly BatchResult[]) => results.map(({ status, body }) => body.code ?? status);
const every = (queue: string) => [
  { op: 'acquire', queue, claim_id: 'a', holder: 'h' },
  { op: 'get', queue, claim_id: 'nobody' },
  { op: 'renew', queue, claim_id: 'nobody', fencing_token: 1 },
  { op: 'release', queue, claim_id: 'nobody', fencing_token: 1 },
  { op: 'cancel', queue, claim_id: 'nobody' },
  { op: 'break', queue, claim_id: 'nobody', reason: 'r', actor: 'a' },
  { op: 'enqueue', queue, claim_id: 'r' },
];

describe('of the operations of a batch each needs what its own call needs', () => {
  // Written down a second time, by hand, in the order of `every`.
  it.each([
    {
      scope: 'read',
      may: ['forbidden', 'claim_not_found', 'forbidden', 'forbidden', 'forbidden', 'forbidden', 'forbidden'],
    },
    {
      scope: 'use',
      may: [200, 'claim_not_found', 'claim_not_found', 'claim_not_found', 'claim_not_found', 'forbidden', 201],
    },
    {
      scope: 'admin',
      may: [200, 'claim_not_found', 'claim_not_found', 'claim_not_found', 'claim_not_found', 'claim_not_found', 201],
    },
  ] as const)('scope $scope', async ({ scope, may }) => {
    const queue = anId('q');
    const put = { token: tokens.admin, body: { concurrency_limit: 1 } };
    expect((await app.ask('PUT', `/v1/queues/${queue}`, put)).status).toBe(200);
    const results = await batch(tokens[scope], every(queue));
    expect(outcomes(results)).toEqual(may);
    expect(results.find(({ status }) => status === 403)?.body['required_scope'] ?? 'none').toBe(
      { read: 'use', use: 'admin', admin: 'none' }[scope],
    );
  });

  it('and names a queue that its token is for, or nothing of it is looked at', async () => {
    const [own, other] = [`mine/${anId('q')}`, `others/${anId('q')}`];
    const results = await batch(mine, [
      ...every(other),
      // Wrong in other ways too, of which nothing is said.
      { op: 'acquire', queue: other, holder: 7 },
      { op: 'acquire', holder: 'h' },
      { op: 'acquire', queue: ['mine/'], holder: 'h' },
      ...every(own).slice(0, 1),
      { op: 'acquire', queue: own, holder: 7 },
    ]);
    expect(outcomes(results)).toEqual([...Array<string>(10).fill('forbidden'), 200, 'invalid_request']);
    expect(results[0]?.body).toMatchObject({ status: 403, queue_prefix: 'mine/' });
    const { rows } = await database.query<{ queue: string }>(
      'select queue from signalbox.queues where queue = any($1)',
      [[own, other]],
    );
    expect(rows).toEqual([{ queue: own }]);
  });

  it('names in also are bound by the prefix of the token, alone and in a batch', async () => {
    const [own, another, other] = [`mine/${anId('q')}`, `mine/${anId('q')}`, `others/${anId('q')}`];
    const body = { holder: 'h', also: [{ queue: another, weight: 1 }, other] };
    const path = `/v1/queues/${encodeURIComponent(own)}/acquire`;
    const single = await app.ask('POST', path, { token: mine, body });
    expect([single.status, JSON.parse(single.text)]).toMatchObject([403, { code: 'forbidden', queue_prefix: 'mine/' }]);
    expect(outcomes(await batch(mine, [{ op: 'acquire', queue: own, ...body }]))).toEqual(['forbidden']);
    expect((await app.ask('POST', path, { token: mine, body: { holder: 'h', also: [another] } })).status).toBe(200);
  });

  it('a refusal reads as that of the single call', async () => {
    const token = readsMine;
    const body = { holder: 'h', claim_id: 'c' };
    for (const queue of ['mine/q', 'others/q']) {
      for (const op of ['acquire', 'get'] as const) {
        const path = `/v1/queues/${encodeURIComponent(queue)}`;
        const single =
          op === 'acquire'
            ? await app.ask('POST', `${path}/acquire`, { token, body })
            : await app.ask('GET', `${path}/claims/c`, { token });
        const [result] = await batch(token, [op === 'get' ? { op, queue, claim_id: 'c' } : { op, queue, ...body }]);
        expect(result).toEqual({ status: single.status, body: JSON.parse(single.text) as object });
      }
    }
  });
});

it('looking by a token of scope read does not count as the client being heard; by one of scope use it does', async () => {
  const queue = anId('q');
  const { read, use } = tokens;
  await batch(use, [{ op: 'acquire', queue, claim_id: 'first', holder: 'h' }]);
  await batch(use, [{ op: 'acquire', queue, claim_id: 'second', holder: 'h2' }]);
  const heardAt = async () =>
    (await database.query<{ at: string }>('select heard_at::text as at from signalbox.heard where queue = $1', [queue]))
      .rows[0]?.at;
  const before = await heardAt();
  expect(before).toBeDefined();
  const look = [{ op: 'get', queue, claim_id: 'second' }];
  expect(outcomes(await batch(read, look))).toEqual([200]);
  expect(await heardAt()).toBe(before);
  expect(outcomes(await batch(use, look))).toEqual([200]);
  expect(await heardAt()).not.toBe(before);
});

it('without a token there is no batch', async () => {
  const answer = await app.ask('POST', '/v1/batch', { body: { operations: every(anId('q')) } });
  expect([answer.status, (JSON.parse(answer.text) as { code: string }).code]).toEqual([401, 'unauthenticated']);
});
