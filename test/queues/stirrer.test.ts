import { expect, test } from 'vitest';
import { Stirrer } from '../../src/queues/stirrer.ts';
import { Database } from '../../src/store/database.ts';
import { freshDatabase } from '../support/database.ts';
import { makeQueues, onQueue } from '../support/sql-verbs.ts';
import { until } from '../support/until.ts';

class CountingDatabase extends Database {
  count = 0;
  running = 0;

  override async query<Row>(...asked: Parameters<Database['query']>): Promise<readonly Row[]> {
    this.count++;
    this.running++;
    try {
      return await super.query<Row>(...asked);
    } finally {
      this.running--;
    }
  }
}

const also = (...queues: string[]) => ({ also: queues.map((queue) => ({ queue })) });

/** A stirrer with a clock of the test, which is asked by what its own calls come to as well, as in a replica. */
function openStirrer(url: string) {
  const db = new CountingDatabase({ url, connectTimeoutMs: 5000, statementTimeoutMs: 20_000 });
  const granted: (string | null)[] = [];
  let nowMs = 0;
  const stirrer = new Stirrer({
    db,
    clock: { monotonicMs: () => nowMs },
    news: () => ({
      spread: (decisions) => {
        for (const { code, claim_id: claimId, body } of decisions) {
          if (code === 'held') granted.push(claimId);
          if (code === 'stir') stirrer.stir(body?.['queues'] as string[]);
        }
      },
    }),
    onError: (error) => expect.fail(String(error)),
  });
  return {
    db,
    stirrer,
    granted,
    pass: (ms: number) => {
      nowMs += ms;
    },
    [Symbol.asyncDispose]: async () => {
      await stirrer.stop();
      await db[Symbol.asyncDispose]();
    },
  };
}

test('lines that cannot move for a row that somebody has are tried a few times, then left alone for a while', async () => {
  await using database = await freshDatabase();
  await makeQueues(database, ['a', 'b']);
  const a = onQueue(database, 'a');
  const held = await a.acquire('j', also('b'));
  // A renewal that hangs: its place in b cannot end, and the claim has no ticket there meanwhile.
  const renewal = await database.connect();
  await renewal.query('begin');
  await renewal.query(`select from signalbox.leases where queue = 'b' for no key update`);
  await a.release('j', held.body.fencing_token, { outcome: 'retry', retry_after_ms: 0 });
  await using s = openStirrer(database.url);
  s.stirrer.stir(['a', 'b']);
  // Whoever asks for them now is not heard.
  await until(
    async () => {
      const before = s.db.count;
      s.stirrer.stir(['b', 'a']);
      for (let round = 0; round < 1000; round++) await database.query('select');
      return s.db.running === 0 && s.db.count === before;
    },
    { what: 'it lets them rest' },
  );
  expect(s.granted).toEqual([]);
  await renewal.query('commit');
  s.pass(1001);
  s.stirrer.stir(['b', 'a']);
  await until(() => s.granted.length > 0, { what: 'it is granted' });
  expect(s.granted).toEqual(['j']);
});
