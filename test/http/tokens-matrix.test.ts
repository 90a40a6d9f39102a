import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Scope } from '../../src/protocol/access.ts';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { anId } from '../support/http-client.ts';
import {
  aToken,
  expire,
  type KnownRoute,
  type MadeToken,
  requestOf,
  revoke,
  routesOf,
  startTokenApp,
  type TokenApp,
} from '../support/token-app.ts';

/**
 * Who may call what, written down a second time and by hand: a route that is not here fails the first test. `named` =
 * about the queue in its path, `in_body` = about those in its body, `listed` = shows only what the token may see, `each` =
 * refuses by operation, as tokens-batch.test.ts says, `all` = about everything. `as`: accepts Basic too and answers as
 * mq-lease-service.
 */
const expected: Record<
  string,
  | { scope: Scope; about: 'named' | 'in_body' | 'listed' | 'each' | 'all' | 'merge_queue'; as?: 'mq-lease-service' }
  | 'open'
> = {
  'POST /v1/queues/{queue}/acquire': { scope: 'use', about: 'named' },
  'GET /v1/queues/{queue}/claims/{claim_id}': { scope: 'read', about: 'named' },
  'POST /v1/queues/{queue}/claims/{claim_id}/renew': { scope: 'use', about: 'named' },
  'POST /v1/queues/{queue}/claims/{claim_id}/release': { scope: 'use', about: 'named' },
  'POST /v1/queues/{queue}/claims/{claim_id}/cancel': { scope: 'use', about: 'named' },
  'POST /v1/queues/{queue}/claims/{claim_id}/break': { scope: 'admin', about: 'named' },
  'POST /v1/queues/{queue}/enqueue': { scope: 'use', about: 'named' },
  'POST /v1/take': { scope: 'use', about: 'in_body' },
  'POST /v1/queues/{queue}/clean': { scope: 'use', about: 'named' },
  'POST /v1/holders/{holder}/renew': { scope: 'use', about: 'in_body' },
  'POST /v1/holders/{holder}/release': { scope: 'use', about: 'in_body' },
  'POST /v1/batch': { scope: 'read', about: 'each' },
  'GET /v1/dead-letters': { scope: 'use', about: 'listed' },
  'POST /v1/queues/{queue}/dead-letters/redrive': { scope: 'admin', about: 'named' },
  'POST /v1/queues/{queue}/dead-letters/purge': { scope: 'admin', about: 'named' },
  'GET /v1/blocked': { scope: 'read', about: 'listed' },
  'POST /v1/queues/{queue}/unblock': { scope: 'admin', about: 'named' },
  'POST /v1/queues/{queue}/claims/{claim_id}/retry': { scope: 'admin', about: 'named' },
  'POST /v1/queues/{queue}/claims/{claim_id}/skip': { scope: 'admin', about: 'named' },
  'PUT /v1/queues/{queue}': { scope: 'admin', about: 'named' },
  'GET /v1/queues/{queue}': { scope: 'read', about: 'named' },
  'DELETE /v1/queues/{queue}': { scope: 'admin', about: 'named' },
  'GET /v1/queues': { scope: 'read', about: 'listed' },
  'GET /v1/queues/{queue}/check': { scope: 'read', about: 'named' },
  'GET /v1/queue-patterns': { scope: 'read', about: 'listed' },
  'GET /v1/queue-patterns/{pattern}': { scope: 'read', about: 'named' },
  'PUT /v1/queue-patterns/{pattern}': { scope: 'admin', about: 'named' },
  'DELETE /v1/queue-patterns/{pattern}': { scope: 'admin', about: 'named' },
  'GET /v1/applied-files/{label}': { scope: 'admin', about: 'all' },
  'PUT /v1/applied-files/{label}': { scope: 'admin', about: 'all' },
  'GET /v1/merge-queues': { scope: 'read', about: 'listed' },
  'GET /v1/merge-queues/{owner}/{repo}/{base_ref}': { scope: 'read', about: 'merge_queue' },
  'PUT /v1/merge-queues/{owner}/{repo}/{base_ref}': { scope: 'admin', about: 'merge_queue' },
  'DELETE /v1/merge-queues/{owner}/{repo}/{base_ref}': { scope: 'admin', about: 'merge_queue' },
  'GET /merge-queue': { scope: 'read', about: 'listed', as: 'mq-lease-service' },
  'GET /merge-queue/{owner}/{repo}/{base_ref}': { scope: 'read', about: 'merge_queue', as: 'mq-lease-service' },
  'DELETE /merge-queue/{owner}/{repo}/{base_ref}': { scope: 'admin', about: 'merge_queue', as: 'mq-lease-service' },
  'POST /merge-queue/{owner}/{repo}/{base_ref}/acquire': {
    scope: 'use',
    about: 'merge_queue',
    as: 'mq-lease-service',
  },
  'POST /merge-queue/{owner}/{repo}/{base_ref}/release': {
    scope: 'use',
    about: 'merge_queue',
    as: 'mq-lease-service',
  },
  'POST /merge-queue/{owner}/{repo}/{base_ref}/renew': { scope: 'use', about: 'merge_queue', as: 'mq-lease-service' },
  'GET /v1/orchestrator': { scope: 'read', about: 'all' },
  'POST /v1/failover/accept': { scope: 'admin', about: 'all' },
  'GET /v1/events': { scope: 'read', about: 'listed' },
  'GET /v1/webhooks': { scope: 'admin', about: 'all' },
  'GET /v1/webhooks/{name}': { scope: 'admin', about: 'all' },
  'PUT /v1/webhooks/{name}': { scope: 'admin', about: 'all' },
  'DELETE /v1/webhooks/{name}': { scope: 'admin', about: 'all' },
  'POST /v1/webhooks/{name}/test': { scope: 'admin', about: 'all' },
  'GET /metrics': { scope: 'read', about: 'all' },
  'GET /healthz': 'open',
  'GET /readyz': 'open',
  'GET /openapi.json': 'open',
  'GET /': 'open',
};
const rank = { read: 0, use: 1, admin: 2 };

interface Credential {
  readonly authorization: string | undefined;
  /** undefined = it is none: 401. */
  readonly grants: { readonly scope: Scope; readonly prefix: 'none' | 'mine' | 'merge_mine' | 'other' } | undefined;
  /** As the password of Basic it is none elsewhere. */
  readonly isBasic?: true;
}

let database: TestDatabase;
let app: TokenApp;
let routes: readonly KnownRoute[];
let credentials: Record<string, Credential>;

beforeAll(async () => {
  database = await freshDatabase();
  const bearer = ({ token }: MadeToken) => `Bearer ${token}`;
  const basic = (user: string, password: string) => `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
  const make = async (scope: Scope, prefix: string) => bearer(await aToken(database, { scope, prefix }));
  const good = await aToken(database);
  const revoked = await aToken(database);
  await revoke(database, revoked);
  const expired = await aToken(database);
  await expire(database, expired);
  const wrongSecret = `sbx_${good.tokenId}_${'A'.repeat(43)}`;
  const bad = (authorization: string | undefined): Credential => ({ authorization, grants: undefined });
  credentials = {
    'no token': bad(undefined),
    'an empty header': bad(''),
    'a bare scheme': bad('Bearer'),
    'no scheme': bad(good.token),
    'another scheme': bad(`Digest ${good.token}`),
    'a wrong password': bad(basic('x', wrongSecret)),
    'a token as the user of Basic': bad(basic(good.token, '')),
    'text that is no token': bad('Bearer letmein'),
    'a token cut short': bad(`Bearer ${good.token.slice(0, -1)}`),
    'a token with something behind it': bad(`Bearer ${good.token}x`),
    'two tokens in one header': bad(`Bearer ${good.token}, Bearer ${good.token}`),
    'a wrong secret': bad(`Bearer ${wrongSecret}`),
    'an unknown id': bad(`Bearer sbx_000000000000_${good.secret}`),
    'a revoked token': bad(bearer(revoked)),
    'an expired token': bad(bearer(expired)),
    'a token in small letters': bad(`Bearer ${good.token.toLowerCase()}`),
    read: { authorization: await make('read', ''), grants: { scope: 'read', prefix: 'none' } },
    use: { authorization: await make('use', ''), grants: { scope: 'use', prefix: 'none' } },
    admin: { authorization: bearer(good), grants: { scope: 'admin', prefix: 'none' } },
    'admin, scheme in capitals': {
      authorization: `BEARER ${good.token}`,
      grants: { scope: 'admin', prefix: 'none' },
    },
    'read for these queues': { authorization: await make('read', 'mine/'), grants: { scope: 'read', prefix: 'mine' } },
    'use for these queues': { authorization: await make('use', 'mine/'), grants: { scope: 'use', prefix: 'mine' } },
    'admin for these queues': {
      authorization: await make('admin', 'mine/'),
      grants: { scope: 'admin', prefix: 'mine' },
    },
    'admin for other queues': {
      authorization: await make('admin', 'other/'),
      grants: { scope: 'admin', prefix: 'other' },
    },
    'a token as the password of Basic': {
      authorization: basic('anybody', good.token),
      grants: { scope: 'admin', prefix: 'none' },
      isBasic: true,
    },
    'use for the merge queues of mine': {
      authorization: await make('use', 'merge-queue/mine/'),
      grants: { scope: 'use', prefix: 'merge_mine' },
    },
    'admin for the merge queues of mine': {
      authorization: await make('admin', 'merge-queue/mine/'),
      grants: { scope: 'admin', prefix: 'merge_mine' },
    },
    'use for other queues': { authorization: await make('use', 'other/'), grants: { scope: 'use', prefix: 'other' } },
  };
  app = await startTokenApp(database);
  routes = await routesOf(app);
});
afterAll(async () => {
  await app[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

function verdict(route: KnownRoute, { grants, isBasic }: Credential): 'served' | 401 | 403 {
  const needs = expected[route.name];
  if (needs === undefined) throw new Error(`${route.name} is not in the table of this test`);
  if (needs === 'open') return 'served';
  if (grants === undefined || (isBasic === true && needs.as === undefined)) return 401;
  if (rank[grants.scope] < rank[needs.scope]) return 403;
  if (grants.prefix === 'none' || needs.about === 'listed' || needs.about === 'each') return 'served';
  if (needs.about === 'all') return 403;
  return grants.prefix === (needs.about === 'merge_queue' ? 'merge_mine' : 'mine') ? 'served' : 403;
}

it('every route registered says what it needs, as this test does', () => {
  expect(routes.map(({ name }) => name).sort()).toEqual(Object.keys(expected).sort());
  for (const { name, security, errorStatuses } of routes) {
    const needs = expected[name];
    const schemes =
      needs === undefined || needs === 'open' ? [] : needs.as === undefined ? ['token'] : ['token', 'basic'];
    const scope = needs === 'open' ? '' : (needs?.scope ?? '');
    expect(security, name).toEqual(schemes.map((scheme) => ({ [scheme]: [scope] })));
    if (needs !== 'open') expect(errorStatuses, name).toEqual(expect.arrayContaining(['401', '403', '503']));
  }
});

describe.each(Object.keys(expected))('%s', (name) => {
  it('serves whom it should and nobody else, and a refused call changes nothing', async () => {
    const route = routes.find((known) => known.name === name);
    if (route === undefined) throw new Error(`${name} is not registered`);
    for (const [title, credential] of Object.entries(credentials)) {
      const queue = `mine/${anId('q')}`;
      const { path, body } = requestOf(route, queue);
      const methods = route.method === 'GET' ? ['GET', 'HEAD'] : [route.method];
      for (const method of methods) {
        const told = `${method} with ${title}`;
        const answer = await app.ask(method, path, { authorization: credential.authorization, body });
        const due = verdict(route, credential);
        if (due === 'served') {
          expect([401, 403], told).not.toContain(answer.status);
          expect(answer.status, told).toBeLessThan(500);
          continue;
        }
        expect(answer.status, told).toBe(due);
        const isOriginal = typeof expected[name] === 'object' && expected[name].as !== undefined;
        const challenge = isOriginal ? 'basic realm=Restricted' : 'Bearer realm="signalbox"';
        expect(answer.headers.get('www-authenticate'), told).toBe(due === 401 ? challenge : null);
        if (isOriginal && due === 401) expect(answer.text, told).toBe(method === 'HEAD' ? '' : 'Unauthorized');
        else if (method !== 'HEAD')
          expect(JSON.parse(answer.text), told).toMatchObject({ code: due === 401 ? 'unauthenticated' : 'forbidden' });
        const { rowCount } = await database.query(
          `select from signalbox.queues where queue = $1
           union all select from signalbox.queue_patterns where pattern = $1 || '*'
           union all select from signalbox.webhooks where name = $1
           union all select from signalbox.merge_queues where queue = 'merge-queue/' || $1 || '/main'`,
          [queue],
        );
        expect(rowCount, told).toBe(0);
      }
    }
  });
});
