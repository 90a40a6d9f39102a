import { type App, startApp } from '../../src/app/app.ts';
import { readSettings } from '../../src/config/settings.ts';
import type { ReplicaId } from '../../src/protocol/ids.ts';
import { createLog } from '../../src/telemetry/log.ts';
import type { TestDatabase } from './database.ts';
import { anId, TestClient } from './http-client.ts';
import { until } from './until.ts';

/** The real replica, in this process. Disposing it stops it as SIGTERM would. */
export interface TestApp extends AsyncDisposable {
  readonly app: App;
  readonly url: string;
  readonly replicaId: ReplicaId;
  readonly client: TestClient;
}

export async function startTestApp(
  database: TestDatabase,
  env: Readonly<Record<string, string | undefined>> = {},
): Promise<TestApp> {
  const replicaId = `test:${process.pid}:${anId('app')}` as ReplicaId;
  const settings = readSettings({
    DATABASE_URL: database.url,
    DATABASE_DIRECT_URL: database.directUrl,
    PORT: '0',
    ...env,
  });
  const app = await startApp({ settings, replicaId, log: createLog('silent', replicaId) });
  return {
    app,
    url: app.url,
    replicaId,
    client: new TestClient(app.url),
    [Symbol.asyncDispose]: () => app.stop(),
  };
}

/** Lets nobody lead here for an hour: nothing is swept, so what a test sees was done by the verbs alone. */
export async function withoutLeader(database: TestDatabase): Promise<void> {
  await database.query(`select signalbox_v1.campaign('nobody:0:test', 3600000)`);
}

/** Waits until `count` claims wait in the queue. */
export async function untilWaiting(client: TestClient, queue: string, count: number): Promise<void> {
  await until(async () => (await client.queue(queue)).body.waiting === count, {
    what: `${count} claims wait in ${queue}`,
  });
}

/** Puts claims into the line, one after another; each must wait. Their holders are `holder of <claim>`. */
export async function lineUp(client: TestClient, queue: string, ...claimIds: readonly string[]): Promise<void> {
  for (const claimId of claimIds) {
    const { status } = await client.acquire(queue, { claim_id: claimId, holder: `holder of ${claimId}` });
    if (status !== 202) throw new Error(`${claimId} does not wait: ${status}`);
  }
}

const instant = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$/;

/** The fields of an answer with the kind of each: integer, instant (RFC 3339 in UTC), array, null, or what typeof says. */
export function shapeOf(body: unknown): Record<string, string> {
  const kindOf = (value: unknown) => {
    if (value === null) return 'null';
    if (Array.isArray(value)) return 'array';
    if (Number.isInteger(value)) return 'integer';
    return typeof value === 'string' && instant.test(value) ? 'instant' : typeof value;
  };
  return Object.fromEntries(Object.entries(body as object).map(([name, value]) => [name, kindOf(value)]));
}
