import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Database } from '../../src/store/database.ts';
import { listen } from '../../src/store/notifications.ts';
import { freshDatabase } from '../support/database.ts';
import { launchReplica, startReplica } from '../support/replica.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';

const took = async (work: PromiseLike<unknown>) => {
  const startedAt = performance.now();
  await work;
  return performance.now() - startedAt;
};

test('SIGTERM ends a replica whose database went silent', { timeout: 60_000 }, async () => {
  await using database = await freshDatabase();
  await using proxy = await TcpProxy.to(database.directUrl);
  const url = proxy.through(database.directUrl);
  await using replica = await startReplica({ databaseUrl: url, directUrl: url });
  proxy.freeze();
  const ended = replica.terminate();
  expect(await took(ended)).toBeLessThan(15_000);
  expect(await ended).toBe(0);
});

test('SIGTERM ends a replica that waits for a migration on a database that went silent', async () => {
  await using database = await freshDatabase();
  await using proxy = await TcpProxy.to(database.directUrl);
  const url = proxy.through(database.directUrl);
  const migrating = await database.connect();
  await migrating.query('select pg_advisory_lock(3853314791062309107)');
  await using starting = await launchReplica({ databaseUrl: url, directUrl: url });
  await until(
    async () =>
      (
        await database.query(`select from pg_stat_activity where wait_event = 'advisory'
          and datname = current_database() and application_name = 'signalbox migrate'`)
      ).rowCount,
    { what: 'it waits', timeoutMs: 20_000 },
  );
  proxy.freeze();
  const ended = starting.terminate();
  expect(await took(ended)).toBeLessThan(5000);
  expect((await ended).exitCode).toBe(0);
}, 30_000);

test('pools end within about a second with idle, busy and half-made connections that are silent', async () => {
  await using database = await freshDatabase();
  await using proxy = await TcpProxy.to(database.directUrl);
  const db = new Database({
    url: proxy.through(database.directUrl),
    connectTimeoutMs: 20_000,
    statementTimeoutMs: 20_000,
  });
  const ask = (lane: 'read' | 'decide' | 'sweep') => db.query(lane, { sql: 'select 1', parameters: [] });
  await Promise.all([ask('read'), ask('decide')]);
  proxy.freeze();
  const busy = [ask('read'), ask('sweep')].map((asked) => asked.catch((error: unknown) => (error as Error).name));
  await sleep(50);
  expect(await took(db.stop())).toBeLessThan(3000);
  expect(await Promise.all(busy)).toEqual(['DatabaseUnavailableError', 'DatabaseUnavailableError']);
});

test('a listening connection that is silent ends within about a second', async () => {
  await using database = await freshDatabase();
  await using proxy = await TcpProxy.to(database.directUrl);
  const connection = await listen(proxy.through(database.directUrl), () => undefined, { connectTimeoutMs: 5000 });
  proxy.freeze();
  expect(await took(connection[Symbol.asyncDispose]())).toBeLessThan(3000);
  await connection.closed;
});
