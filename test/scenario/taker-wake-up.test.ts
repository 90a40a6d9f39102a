import { describe, expect, test } from 'vitest';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { anId } from '../support/http-client.ts';
import { startTestApp, type TestApp, withoutLeader } from '../support/test-app.ts';
import { until } from '../support/until.ts';

const metric = async (app: TestApp, name: string) => {
  const lines = (await (await fetch(`${app.url}/metrics`)).text()).split('\n');
  return Number(lines.find((line) => line.startsWith(`${name} `))?.slice(name.length + 1));
};
const untilTakers = (app: TestApp, count: number) =>
  until(async () => (await metric(app, 'signalbox_waiting_takers')) === count, { what: `${count} takers wait` });
const hears = (app: TestApp) =>
  until(async () => (await app.client.ready()).body.details?.notifications_work, { what: 'it hears' });
const held = async (database: TestDatabase, queue: string) =>
  (await database.query(`select from signalbox.leases where queue = $1 and state = 'held'`, [queue])).rowCount;

describe('a worker that waits on one replica', () => {
  test('gets what is enqueued there, on another replica, and from SQL', async () => {
    await using database = await freshDatabase();
    await withoutLeader(database);
    await using a = await startTestApp(database);
    await using b = await startTestApp(database);
    await hears(a);
    const prefix = `${anId('p')}/`;
    const enqueues: (() => Promise<unknown>)[] = [
      () => a.client.enqueue(`${prefix}here`, { claim_id: 'one' }),
      () => b.client.enqueue(`${prefix}there`, { claim_id: 'one' }),
      () => database.query('select signalbox_v1.enqueue($1, $2)', [`${prefix}sql`, 'one']),
    ];
    for (const enqueue of enqueues) {
      const answer = a.client.take({ prefix, wait_ms: 30_000 });
      await untilTakers(a, 1);
      await enqueue();
      expect((await answer).body.claims).toMatchObject([{ claim_id: 'one', attempt: 1 }]);
    }
  });

  test('gets what is released elsewhere with a retry, and what a raised limit or the end of a pause lets go', async () => {
    await using database = await freshDatabase();
    await withoutLeader(database);
    await using a = await startTestApp(database);
    await using b = await startTestApp(database);
    await hears(a);
    const queue = anId('q');
    await b.client.enqueue(queue, { claim_id: 'one' });
    await b.client.enqueue(queue, { claim_id: 'two' });
    const one = await b.client.takeOne({ queue });

    const whenRaised = a.client.take({ queue, wait_ms: 30_000 });
    await untilTakers(a, 1);
    await b.client.put(queue, { concurrency_limit: 2 });
    expect((await whenRaised).body.claims).toMatchObject([{ claim_id: 'two' }]);

    await b.client.put(queue, { paused: true });
    await b.client.release(one, { outcome: 'retry', retry_after_ms: 0 });
    const whenOpened = a.client.take({ queue, wait_ms: 30_000 });
    await untilTakers(a, 1);
    await b.client.put(queue, { paused: false });
    expect((await whenOpened).body.claims).toMatchObject([{ claim_id: 'one', attempt: 2 }]);
  });

  test('gets the run of a worker that died, without a leader', async () => {
    await using database = await freshDatabase();
    await withoutLeader(database);
    await using app = await startTestApp(database);
    const queue = anId('q');
    await app.client.enqueue(queue, { claim_id: 'one' });
    await app.client.takeOne({ queue, ttl_ms: 1000 });
    const { body } = await app.client.take({ queue, wait_ms: 30_000 });
    expect(body.claims).toMatchObject([{ claim_id: 'one', attempt: 2 }]);
  });

  test('of several that wait each gets one of several runs', async () => {
    await using database = await freshDatabase();
    await withoutLeader(database);
    await using app = await startTestApp(database);
    const queue = anId('q');
    await app.client.put(queue, { concurrency_limit: 10 });
    const answers = Array.from({ length: 5 }, () => app.client.take({ queue, wait_ms: 30_000 }));
    await untilTakers(app, 5);
    for (let n = 0; n < 5; n++) await app.client.enqueue(queue, { claim_id: `run-${n}` });
    const claims = (await Promise.all(answers)).flatMap(({ body }) => body.claims ?? []);
    expect(claims.map(({ claim_id: id }) => id).sort()).toEqual(['run-0', 'run-1', 'run-2', 'run-3', 'run-4']);
  });

  test('gets an empty answer when its time is over, and when its replica stops', async () => {
    await using database = await freshDatabase();
    const app = await startTestApp(database);
    const queue = anId('q');
    expect(await app.client.take({ queue, wait_ms: 50 })).toMatchObject({ status: 200, body: { claims: [] } });
    const answer = app.client.take({ queue, wait_ms: 30_000 });
    await untilTakers(app, 1);
    await app[Symbol.asyncDispose]();
    expect(await answer).toMatchObject({ status: 200, body: { claims: [] } });
  });
});

describe('a worker that hangs up', () => {
  test('while it waits leaves nobody uncalled', async () => {
    await using database = await freshDatabase();
    await withoutLeader(database);
    await using app = await startTestApp(database);
    const queue = anId('q');
    const gone = new AbortController();
    const left = app.client.take({ queue, wait_ms: 30_000 }, { signal: gone.signal });
    left.catch(() => undefined);
    await untilTakers(app, 1);
    const stays = app.client.take({ queue, wait_ms: 30_000 });
    await untilTakers(app, 2);
    gone.abort();
    await untilTakers(app, 1);
    await app.client.enqueue(queue, { claim_id: 'one' });
    expect((await stays).body.claims).toMatchObject([{ claim_id: 'one', attempt: 1 }]);
  });

  test('while its take is at work gets nothing: the run goes back uncounted, and the same request gets it', async () => {
    await using database = await freshDatabase();
    await withoutLeader(database);
    await using app = await startTestApp(database);
    const queue = anId('q');
    await app.client.enqueue(queue, { claim_id: 'one' });
    // The line is held: the take tries for it again and again.
    const keeper = await database.connect();
    await keeper.query('begin');
    await keeper.query('select from signalbox.lines where queue = $1 for update', [queue]);
    const gone = new AbortController();
    const body = { holder: 'worker', queue, request_id: 'request', wait_ms: 30_000 };
    const lost = app.client.take(body, { signal: gone.signal });
    lost.catch(() => undefined);
    const isTaking = async () =>
      (
        await database.query(
          `select from pg_stat_activity where query like '%signalbox_v1.take(%' and wait_event_type = 'Lock'`,
        )
      ).rowCount;
    await until(isTaking, { what: 'the take waits for the line' });
    gone.abort();
    const hangUps = 'signalbox_http_request_seconds_count{route="/v1/take",method="POST",status="499"}';
    await until(async () => (await metric(app, hangUps)) === 1, { what: 'the replica knows that it hung up' });
    await keeper.query('commit');
    await until(
      async () => (await held(database, queue)) === 0 && (await metric(app, 'signalbox_waiting_takers')) === 0,
      { what: 'nobody holds it' },
    );
    const { rows } = await database.query('select reason, attempt from signalbox.history where queue = $1', [queue]);
    expect(rows).toEqual([{ reason: 'untaken', attempt: 1 }]);
    const { body: again } = await app.client.take({ ...body, wait_ms: 10_000 });
    expect(again.claims).toMatchObject([{ claim_id: 'one', attempt: 1 }]);
  });
});
