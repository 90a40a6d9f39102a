import { join } from 'node:path';
import { BackgroundProcess } from '../../support/background-process.ts';
import { withPgBouncer } from '../../support/pgbouncer.ts';
import { launchReplica, listening } from '../../support/replica.ts';
import { ownChildren } from '../process-cpu.ts';
import type { Rig, Scope } from '../rig.ts';

/** Servers that answer acquire and release over HTTP, in processes of their own. */
export interface HttpContender {
  readonly name: string;
  readonly urls: readonly string[];
  /** Whose processor time counts as the server's; PostgreSQL is counted apart. */
  readonly pids: readonly number[];
}

export interface SignalboxContender extends HttpContender {
  readonly databaseUrl: string;
  /** In order; a measure may start another one later. */
  stop(): Promise<void>;
}

const goodbyeMs = 5000;

/** Replicas with default settings on one database, a new one unless it is given. They stop with the scope. */
export async function startSignalbox(
  rig: Rig,
  scope: Scope,
  options: { name?: string; replicas?: number; databaseUrl?: string; pooler?: Pooler } = {},
): Promise<SignalboxContender> {
  const { name = 'signalbox', replicas = 1, pooler } = options;
  const databaseUrl = options.databaseUrl ?? (await rig.database(scope));
  const launched = await Promise.all(
    Array.from({ length: replicas }, () =>
      launchReplica({
        databaseUrl: pooler === undefined ? databaseUrl : pooler.urlOf(databaseUrl),
        directUrl: databaseUrl,
      }),
    ),
  );
  const stop = async () => {
    await Promise.all(launched.map(endInOrder));
  };
  scope.defer(stop);
  const started = await Promise.all(launched.map((process) => listening(process)));
  return {
    name,
    urls: started.map(({ url }) => url),
    pids: [...started.map(({ pid }) => pid), ...(pooler === undefined ? [] : [pooler.pid])],
    databaseUrl,
    stop,
  };
}

export async function startFastifyPost(scope: Scope): Promise<HttpContender> {
  return startPlain(scope, 'fastify_post', ['fastify-post']);
}

export async function startOneUpdate(rig: Rig, scope: Scope): Promise<HttpContender> {
  return startPlain(scope, 'one_update', ['one-update', await rig.database(scope)]);
}

async function startPlain(scope: Scope, name: string, args: readonly string[]): Promise<HttpContender> {
  const server = scope.use(await BackgroundProcess.node(join(import.meta.dirname, 'plain-server.ts'), args));
  const [, port = ''] = await server.line(/^listens on (\d+)$/);
  return { name, urls: [`http://127.0.0.1:${port}`], pids: [server.pid] };
}

export interface Pooler {
  readonly pid: number;
  /** The same database through the pooler. */
  urlOf(databaseUrl: string): string;
}

/** PgBouncer with transaction pooling before the rig's server. */
export async function startPooler(rig: Rig, scope: Scope): Promise<Pooler> {
  const before = ownChildren('pgbouncer');
  const { poolerUrl, stop } = await withPgBouncer({
    adminUrl: rig.adminUrl,
    poolerUrl: null,
    stop: () => Promise.resolve(),
  });
  scope.defer(stop);
  return {
    pid: ownChildren('pgbouncer').find((pid) => !before.includes(pid)) ?? NaN,
    urlOf: (databaseUrl) => {
      const url = new URL(poolerUrl ?? '');
      url.pathname = new URL(databaseUrl).pathname;
      return url.href;
    },
  };
}

async function endInOrder(process: BackgroundProcess): Promise<void> {
  const timer = setTimeout(() => void process.kill(), goodbyeMs);
  await process.terminate();
  clearTimeout(timer);
}
