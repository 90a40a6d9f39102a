import { expect, test } from 'vitest';
import { readFeed } from '../../src/queues/event-feed.ts';
import { FeedTail } from '../../src/queues/feed-tail.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { Database } from '../../src/store/database.ts';
import { freshDatabase } from '../support/database.ts';
import { until } from '../support/until.ts';

class CountingDatabase extends Database {
  count = 0;

  override query<Row>(...asked: Parameters<Database['query']>): Promise<readonly Row[]> {
    this.count++;
    return super.query<Row>(...asked);
  }
}

/** Its first three reads find nothing, as if somebody kept the end of the feed back. */
class ShortSightedDatabase extends Database {
  reads = 0;

  override async query<Row>(...asked: Parameters<Database['query']>): Promise<readonly Row[]> {
    const rows = await super.query<Row>(...asked);
    return ++this.reads <= 3 ? [] : rows;
  }
}

test('readers that wait ask the database no more often than one, and each is told of its own queue alone', async () => {
  await using database = await freshDatabase();
  await using db = new CountingDatabase({ url: database.url, connectTimeoutMs: 5000, statementTimeoutMs: 5000 });
  await using feedTail = new FeedTail({ db, onError: (error) => expect.fail(String(error)), everyMs: 20 });
  const signal = new AbortController().signal;
  const read = (queue: string) =>
    readFeed(
      { db, clock: systemClock, feedTail },
      { after: undefined, queue: queue as never, prefix: '', limit: 10, waitMs: 20_000 },
      { receivedAtMs: systemClock.monotonicMs(), signal },
    );
  const tell = (queue: string) =>
    database.query(`select signalbox.record_event('claim.queued', $1, 'a', '{}')`, [queue]);

  const readers = Array.from({ length: 50 }, () => read('theirs'));
  await until(() => feedTail.size === 50 && db.count >= 50, { what: 'all have read and wait' });
  await feedTail.start();
  await until(() => db.count > 100, { what: 'all were called once, for what came before the tail began' });
  const before = db.count;
  await tell('another');
  // Ten rounds of the tail, and not one of the fifty readers among them.
  await until(() => db.count >= before + 10, { what: 'the tail has looked ten times' });
  expect(db.count).toBeLessThan(before + 40);
  await tell('theirs');
  const pages = await Promise.all(readers);
  expect(pages.map(({ events }) => events.map(({ queue }) => queue))).toEqual(pages.map(() => ['theirs']));
  expect(feedTail.size).toBe(0);
});

test('a reader is told of what was committed between its read and its wait', async () => {
  await using database = await freshDatabase();
  await using db = new Database({ url: database.url, connectTimeoutMs: 5000, statementTimeoutMs: 5000 });
  await using feedTail = new FeedTail({ db, onError: (error) => expect.fail(String(error)), everyMs: 20 });
  await feedTail.start();
  const signal = new AbortController().signal;
  using seat = feedTail.enter({ queue: undefined, prefix: 'x/' });
  await seat.wait({ timeoutMs: 10_000, signal });
  await database.query(`select signalbox.record_event('claim.queued', 'y', 'a', '{}')`);
  await database.query(`select signalbox.record_event('claim.queued', 'x/1', 'a', '{}')`);
  const waitedFromMs = performance.now();
  await seat.wait({ timeoutMs: 10_000, signal });
  expect(performance.now() - waitedFromMs).toBeLessThan(9000);
});

test('a reader that sees less than the tail has seen for a moment is called again', async () => {
  await using database = await freshDatabase();
  const settings = { url: database.url, connectTimeoutMs: 5000, statementTimeoutMs: 5000 };
  await using db = new Database(settings);
  await using short = new ShortSightedDatabase(settings);
  await using feedTail = new FeedTail({ db, onError: (error) => expect.fail(String(error)), everyMs: 20 });
  const read = readFeed(
    { db: short, clock: systemClock, feedTail },
    { after: undefined, queue: undefined, prefix: '', limit: 10, waitMs: 30_000 },
    { receivedAtMs: systemClock.monotonicMs(), signal: new AbortController().signal },
  );
  await until(() => short.reads === 1, { what: 'it has read' });
  await feedTail.start();
  await until(() => short.reads === 2, { what: 'it was called, for what came before the tail began' });
  const waitedFromMs = performance.now();
  await database.query(`select signalbox.record_event('claim.queued', 'x', 'a', '{}')`);
  expect((await read).events.map(({ claim_id: id }) => id)).toEqual(['a']);
  expect(performance.now() - waitedFromMs).toBeLessThan(20_000);
});
