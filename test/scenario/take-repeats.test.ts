import { expect, test } from 'vitest';
import { waitPatiently } from '../support/blocked.ts';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { anId } from '../support/http-client.ts';
import { startTestApp, type TestApp, withoutLeader } from '../support/test-app.ts';
import { until } from '../support/until.ts';

const hangUps = 'signalbox_http_request_seconds_count{route="/v1/take",method="POST",status="499"}';

/** The replica knows that so many takers hung up. */
const untilHungUp = (app: TestApp, count: number) =>
  until(
    async () =>
      (await (await fetch(`${app.url}/metrics`)).text()).split('\n').some((line) => line === `${hangUps} ${count}`),
    { what: `${count} takers are known to have hung up` },
  );
/** So many takes wait for a row that somebody else holds. */
const untilTaking = (database: TestDatabase, count: number) =>
  until(
    async () =>
      (
        await database.query(
          `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
             and query like '%signalbox_v1.take(%'`,
        )
      ).rowCount === count,
    { what: `${count} takes wait` },
  );
/** No deciding call is at work any more. */
const untilQuiet = (database: TestDatabase) =>
  until(
    async () =>
      (
        await database.query(
          `select from pg_stat_activity where datname = current_database() and state = 'active' and pid <> pg_backend_pid()
             and query ~ 'signalbox_v1[.](take|decide)[(]'`,
        )
      ).rowCount === 0,
    { what: 'nothing is decided' },
  );
const grants = async (database: TestDatabase, queue: string) =>
  (
    await database.query<{ state: string; token: number }>(
      `select state, fencing_token::float8 as token from signalbox.leases where queue = $1 and state = 'held'`,
      [queue],
    )
  ).rows;

test('a request repeated at another replica while the first call, hung up, is at work: one holder, and its lease is good', async () => {
  await using database = await freshDatabase();
  await withoutLeader(database);
  await waitPatiently(database);
  await using a = await startTestApp(database);
  await using b = await startTestApp(database);
  const queue = anId('q');
  await a.client.put(queue, { concurrency_limit: 5 });
  await a.client.enqueue(queue, { claim_id: 'one' });
  const keeper = await database.connect();
  await keeper.query('begin');
  await keeper.query('select from signalbox.lines where queue = $1 for update', [queue]);
  const gone = new AbortController();
  const body = { holder: 'worker', queue, request_id: 'request' };
  const lost = a.client.take(body, { signal: gone.signal });
  lost.catch(() => undefined);
  await untilTaking(database, 1);
  gone.abort();
  await untilHungUp(a, 1);
  const repeated = b.client.take({ ...body, wait_ms: 20_000 });
  await untilTaking(database, 2);
  await keeper.query('commit');

  const { claims = [] } = (await repeated).body;
  expect(claims).toMatchObject([{ claim_id: 'one', attempt: 1 }]);
  const [lease] = claims;
  if (lease === undefined) throw new Error('nothing taken');
  await untilQuiet(database);
  expect(await grants(database, queue)).toEqual([{ state: 'held', token: lease.fencing_token }]);
  expect((await b.client.renew(lease)).status).toBe(200);
  expect((await a.client.take({ ...body })).body.claims).toMatchObject([{ fencing_token: lease.fencing_token }]);
  expect(await b.client.release(lease, { outcome: 'success' })).toMatchObject({
    status: 200,
    body: { released: true },
  });
});

test('a duplicate of an answered request that hangs up while it is at work gives nothing back', async () => {
  await using database = await freshDatabase();
  await withoutLeader(database);
  await waitPatiently(database);
  await using a = await startTestApp(database);
  await using b = await startTestApp(database);
  const queue = anId('q');
  await a.client.enqueue(queue, { claim_id: 'one' });
  const body = { holder: 'worker', queue, request_id: 'request' };
  const lease = await a.client.takeOne(body);
  const keeper = await database.connect();
  await keeper.query('begin');
  await keeper.query('select from signalbox.takes for update');
  const gone = new AbortController();
  const lost = b.client.take(body, { signal: gone.signal });
  lost.catch(() => undefined);
  await untilTaking(database, 1);
  gone.abort();
  await untilHungUp(b, 1);
  await keeper.query('commit');
  await untilQuiet(database);
  // Whatever it decides after that, it has sent before this is answered.
  await b.client.enqueue(queue, { claim_id: 'two' });
  expect(await grants(database, queue)).toEqual([{ state: 'held', token: lease.fencing_token }]);
  expect((await database.query('select from signalbox.history where queue = $1', [queue])).rowCount).toBe(0);
  expect((await a.client.renew(lease)).status).toBe(200);
});
