import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { TokenSnapshot } from '../../src/access/token-snapshot.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { Database } from '../../src/store/database.ts';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { stressService } from '../support/stress-service.ts';
import { aToken } from '../support/token-app.ts';
import { until } from '../support/until.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await freshDatabase();
});
afterAll(async () => {
  await database[Symbol.asyncDispose]();
});

function snapshotOf(url: string) {
  const errors: unknown[] = [];
  const db = new Database({ url, connectTimeoutMs: 500, statementTimeoutMs: 1000 });
  const tokens = new TokenSnapshot({ db, clock: systemClock, onError: (error) => errors.push(error) });
  return { db, tokens, errors, [Symbol.asyncDispose]: () => tokens.stop().then(() => db.stop()) };
}

describe('the snapshot', () => {
  it('starts and stops any number of times', async () => {
    await using subject = snapshotOf(database.url);
    await stressService(subject.tokens);
  });

  it('has been read when the service has started', async () => {
    const { tokenId } = await aToken(database);
    await using subject = snapshotOf(database.url);
    expect(subject.tokens.current).toBeUndefined();
    await subject.tokens.start();
    expect(subject.tokens.current?.tokens.has(tokenId)).toBe(true);
  });

  it('starts without a database, says so, and knows nothing', async () => {
    await using subject = snapshotOf('postgresql://127.0.0.1:1/none');
    await subject.tokens.start();
    expect(subject.errors).toHaveLength(1);
    expect(subject.tokens.current).toBeUndefined();
    await until(() => subject.errors.length >= 2, { what: 'it tried again' });
  });

  it('keeps what it knew, as old as it is, while reads fail, and reads again within about a second', async () => {
    await using subject = snapshotOf(database.url);
    await subject.tokens.start();
    const before = subject.tokens.current;
    await database.query('alter table signalbox.tokens rename to tokens_away');
    subject.tokens.changed();
    await until(() => subject.errors.length > 0, { what: 'a read failed' });
    expect(subject.tokens.current).toBe(before);
    await database.query('alter table signalbox.tokens_away rename to tokens');
    await until(() => subject.tokens.current !== before, { what: 'it was read again', timeoutMs: 2000 });
  });

  it('is read once more when a change is told while a read is under way', async () => {
    await using subject = snapshotOf(database.url);
    await subject.tokens.start();
    const locker = await database.connect();
    await locker.query('begin');
    await locker.query('lock table signalbox.tokens in access exclusive mode');
    const reads = vi.spyOn(subject.db, 'query');
    subject.tokens.changed();
    await until(
      async () =>
        (await database.query(`select from pg_locks where not granted and relation = 'signalbox.tokens'::regclass`))
          .rowCount,
      { what: 'the read waits' },
    );
    expect(reads).toHaveBeenCalledTimes(1);
    subject.tokens.changed();
    await locker.query('rollback');
    // The poll alone would come after 4 s.
    await until(() => reads.mock.calls.length === 2, { what: 'there was a second read', timeoutMs: 2000 });
  });
});
