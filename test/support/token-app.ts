import { type App, startApp } from '../../src/app/app.ts';
import { makeToken } from '../../src/access/token-form.ts';
import { readSettings } from '../../src/config/settings.ts';
import type { Scope } from '../../src/protocol/access.ts';
import type { ReplicaId } from '../../src/protocol/ids.ts';
import { createLog } from '../../src/telemetry/log.ts';
import type { TestDatabase } from './database.ts';
import { anId } from './http-client.ts';

export interface MadeToken {
  readonly tokenId: string;
  readonly token: string;
  /** What must never be seen anywhere. */
  readonly secret: string;
}

/** A token made by the SQL function, as the command line makes it. */
export async function aToken(
  database: TestDatabase,
  { scope = 'admin', prefix = '', name = anId('token') }: { scope?: Scope; prefix?: string; name?: string } = {},
): Promise<MadeToken> {
  const { tokenId, token, hash } = makeToken();
  await database.query('select signalbox_v1.create_token($1, $2, $3, $4, $5, null, $6)', [
    tokenId,
    hash,
    name,
    scope,
    prefix,
    'a test',
  ]);
  return { tokenId, token, secret: token.slice(-43) };
}

export function revoke(database: TestDatabase, { tokenId }: MadeToken): Promise<unknown> {
  return database.query('select signalbox_v1.revoke_token($1)', [tokenId]);
}

/** Lets a token have expired a second ago. No replica is told. */
export function expire(database: TestDatabase, { tokenId }: MadeToken): Promise<unknown> {
  return database.query(
    `update signalbox.tokens set created_at = signalbox.clock() - interval '1 hour',
       expires_at = signalbox.clock() - interval '1 second' where token_id = $1`,
    [tokenId],
  );
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

export interface TokenApp extends AsyncDisposable {
  readonly app: App;
  /** Everything the replica logged, from level trace. */
  readonly log: () => string;
  /** `token` goes out as Bearer; `authorization` as it stands. */
  readonly ask: (
    method: string,
    path: string,
    options?: { token?: MadeToken; authorization?: string | undefined; body?: unknown },
  ) => Promise<Answer>;
}

/** The real replica in this process, its log kept. */
export async function startTokenApp(
  database: TestDatabase,
  env: Readonly<Record<string, string | undefined>> = {},
): Promise<TokenApp> {
  const replicaId = `test:${process.pid}:${anId('app')}` as ReplicaId;
  let log = '';
  const app = await startApp({
    settings: readSettings({
      DATABASE_URL: database.url,
      DATABASE_DIRECT_URL: database.directUrl,
      PORT: '0',
      ...env,
    }),
    replicaId,
    log: createLog('trace', replicaId, { write: (line: string) => void (log += line) }),
  });
  const url = app.url.replace('0.0.0.0', '127.0.0.1');
  return {
    app,
    log: () => log,
    ask: async (method, path, { token, authorization, body } = {}) => {
      const bearer = token === undefined ? authorization : `Bearer ${token.token}`;
      const response = await fetch(url + path, {
        method,
        headers: {
          ...(bearer === undefined ? {} : { authorization: bearer }),
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      return { status: response.status, headers: response.headers, text: await response.text() };
    },
    [Symbol.asyncDispose]: () => app.stop(),
  };
}

/** A route as the OpenAPI document tells it. */
export interface KnownRoute {
  readonly name: string;
  readonly method: string;
  readonly path: string;
  readonly security: readonly Readonly<Partial<Record<'token' | 'basic', readonly string[]>>>[];
  readonly errorStatuses: readonly string[];
}

/** Every route registered, from the replica itself; the index and the document must name the same ones. */
export async function routesOf({ ask }: TokenApp): Promise<readonly KnownRoute[]> {
  const document = JSON.parse((await ask('GET', '/openapi.json')).text) as {
    paths: Record<string, Record<string, { security: KnownRoute['security']; responses: Record<string, unknown> }>>;
  };
  const { routes } = JSON.parse((await ask('GET', '/')).text) as { routes: string[] };
  const known = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { security, responses }]) => ({
      name: `${method.toUpperCase()} ${path}`,
      method: method.toUpperCase(),
      path,
      security,
      errorStatuses: Object.keys(responses),
    })),
  );
  const unlisted = routes.filter((name) => !known.some((route) => route.name === name));
  if (unlisted.length > 0 || routes.length !== known.length) throw new Error(`not in both: ${unlisted.join(', ')}`);
  return known;
}

/** A well-formed request of a route, about this queue, or the merge queue of this owner and repository. */
export function requestOf(route: KnownRoute, queue: string): { readonly path: string; readonly body?: unknown } {
  const verb = route.path.split('/').at(-1) ?? '';
  const lease = { queue, claim_id: 'c', fencing_token: 1 };
  const dead = { all: true, actor: 'a' };
  const build = { head_sha: 'c', head_ref: 'gh-readonly-queue/main/pr-1-c', priority: 1 };
  /** By the end of the path; of two that fit, the first one counts. */
  const bodies: readonly [end: string, body: unknown][] = [
    ['holders/{holder}/renew', { claims: [lease] }],
    ['holders/{holder}/release', { claims: [lease] }],
    ['v1/batch', { operations: [{ op: 'get', queue, claim_id: 'c' }] }],
    ['{base_ref}/acquire', build],
    ['{base_ref}/release', { ...build, status: 'success' }],
    ['{base_ref}/renew', { head_sha: 'c', fencing_token: 1 }],
    ['acquire', { holder: 'h', claim_id: 'c' }],
    ['renew', { fencing_token: 1 }],
    ['release', { fencing_token: 1 }],
    ['break', { reason: 'r', actor: 'a' }],
    ['cancel', {}],
    ['test', {}],
    ['enqueue', { claim_id: 'c' }],
    ['take', { holder: 'h', queue }],
    ['clean', { holder: 'h' }],
    ['redrive', dead],
    ['purge', dead],
    ['accept', { actor: 'a' }],
    ['unblock', { actor: 'a' }],
    ['retry', { actor: 'a' }],
    ['skip', { actor: 'a' }],
  ];
  const path = route.path
    .replace('{queue}', encodeURIComponent(queue))
    .replace('{owner}/{repo}/{base_ref}', queue.includes('/') ? `${queue}/main` : `acme/${queue}/main`)
    .replace('{pattern}', encodeURIComponent(`${queue}*`))
    .replace('{label}', 'queues.yaml')
    .replace('{name}', encodeURIComponent(queue))
    .replace('{claim_id}', 'c')
    .replace('{holder}', 'h');
  const posted = bodies.find(([end]) => route.path.endsWith(`/${end}`))?.[1];
  const made = { queues: {}, patterns: [], merge_queues: [] };
  const settings = route.path.includes('{base_ref}') ? { ttl_ms: 1000 } : { concurrency_limit: 1 };
  const off = { url: 'https://example.org/', enabled: false };
  const put = verb === '{label}' ? made : verb === '{name}' ? off : settings;
  const body = route.method === 'PUT' ? put : route.method === 'POST' ? posted : undefined;
  return { path: verb === 'check' ? `${path}?fencing_token=1` : path, ...(body === undefined ? {} : { body }) };
}
