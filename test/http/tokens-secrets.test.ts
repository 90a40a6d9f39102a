import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ReplicaId } from '../../src/protocol/ids.ts';
import { createLog } from '../../src/telemetry/log.ts';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { anId } from '../support/http-client.ts';
import {
  aToken,
  type Answer,
  type KnownRoute,
  type MadeToken,
  requestOf,
  routesOf,
  startTokenApp,
  type TokenApp,
} from '../support/token-app.ts';

let database: TestDatabase;
let app: TokenApp;
let routes: readonly KnownRoute[];
let good: MadeToken;
let answers: Answer[];

beforeAll(async () => {
  database = await freshDatabase();
  good = await aToken(database);
  app = await startTokenApp(database);
  routes = await routesOf(app);
  answers = [];
});
afterAll(async () => {
  await app[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

async function ask(...[method, path, options]: Parameters<TokenApp['ask']>): Promise<Answer> {
  const answer = await app.ask(method, path, options);
  answers.push(answer);
  return answer;
}

function expectNothingToldOf({ secret }: MadeToken): void {
  expect(app.log()).not.toBe('');
  expect(app.log().includes(secret), 'the log').toBe(false);
  for (const { status, text, headers } of answers.filter((answer) => answer.status >= 400)) {
    expect(text.includes(secret), `a body of status ${status}: ${text}`).toBe(false);
    expect(JSON.stringify([...headers])).not.toContain(secret);
  }
}

const withQuery = (path: string, query: string) => `${path}${path.includes('?') ? '&' : '?'}${query}`;

describe('a secret is in no log line and no error body', () => {
  it('sent in the header, good or not', async () => {
    const wrong = `Bearer sbx_000000000000_${good.secret}`;
    for (const route of routes) {
      const { path, body } = requestOf(route, anId('q'));
      await ask(route.method, path, { token: good, body });
      await ask(route.method, path, { authorization: wrong, body });
      await ask(route.method, path, { authorization: `Basic ${good.token}`, body });
    }
    expectNothingToldOf(good);
  });

  it.each(['token', 'access_token'])('sent as query parameter %s, which is refused with 400', async (name) => {
    for (const route of routes.filter(({ security }) => security.length > 0)) {
      const { path, body } = requestOf(route, anId('q'));
      for (const options of [{ body }, { body, token: good }]) {
        const answer = await ask(route.method, withQuery(path, `${name}=${good.token}`), options);
        expect(answer.status, route.name).toBe(400);
        expect(JSON.parse(answer.text)).toMatchObject({ code: 'invalid_request' });
      }
    }
    expectNothingToldOf(good);
  });

  it('sent as a query parameter of another name, or as that name', async () => {
    for (const route of routes) {
      const { path, body } = requestOf(route, anId('q'));
      for (const query of [`key=${good.token}`, `${good.token}=1`, `cursor=${good.token}`])
        await ask(route.method, withQuery(path, query), { body, token: good });
    }
    expectNothingToldOf(good);
  });

  it('sent in the body, as a value or as a field', async () => {
    for (const route of routes.filter(({ method }) => method !== 'GET')) {
      const { path, body } = requestOf(route, anId('q'));
      for (const wrong of [
        { ...(body as object), token: good.token },
        { ...(body as object), [good.token]: 1 },
        { ...(body as object), holder: [good.token] },
        good.token,
      ])
        await ask(route.method, path, { token: good, body: wrong });
    }
    expectNothingToldOf(good);
  });

  it('sent as the name of a queue or claim, known or not', async () => {
    for (const route of routes.filter(({ path }) => path.includes('{queue}'))) {
      const { path, body } = requestOf(route, good.token);
      await ask(route.method, path, { token: good, body });
      await ask(route.method, path.replace('/claims/c', `/claims/${good.token}`), { token: good, body });
      await ask(route.method, path, { body });
    }
    expectNothingToldOf(good);
  });
});

describe('the log', () => {
  it('takes tokens out of whatever is written, and credentials out of fields', () => {
    let text = '';
    const log = createLog('trace', 'r:1:x' as ReplicaId, { write: (line: string) => void (text += line) });
    log.info({ headers: { authorization: 'Bearer hunter2' }, req: { headers: { cookie: 'hunter2' } } }, 'a request');
    log.info({ authorization: 'hunter2', options: { password: 'hunter2' } }, 'options');
    log.error({ err: new Error(`bad: ${good.token}`) }, `met ${good.token.slice(0, -5)} too`);
    expect(text).not.toContain('hunter2');
    expect(text).not.toContain(good.secret.slice(0, -5));
    expect(text).toContain(`bad: sbx_${good.tokenId}_[redacted]`);
  });
});
