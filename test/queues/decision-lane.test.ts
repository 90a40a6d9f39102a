import { expect, test } from 'vitest';
import { freshDatabase } from '../support/database.ts';
import { openDesk } from '../support/decision-desk.ts';
import { makeQueues } from '../support/sql-verbs.ts';
import { until } from '../support/until.ts';

test('a lane that met a lock once goes on in batches for those who come later', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['hot'], { concurrency_limit: 1 });
  await using desk = openDesk(db, { lineWaitMs: 20_000 });
  const holder = await db.connect();
  await holder.query('begin');
  await holder.query(`select from signalbox.lines where queue = 'hot' for update`);
  const early = Array.from({ length: 5 }, (_, n) => desk.acquire('hot', `early-${n}`));
  // The lane waited 250 ms, was refused (55P03), and tries its operations one by one.
  await until(() => desk.batchSizes.at(-1) === 1 && desk.batchSizes.includes(5), { what: 'they are tried alone' });
  const late = Array.from({ length: 40 }, (_, n) => desk.acquire('hot', `late-${n}`));
  await holder.query('commit');
  const codes = (await Promise.all([...early, ...late])).map(({ decision }) => decision.code);
  expect(codes.filter((code) => code === 'held')).toHaveLength(1);
  expect(codes.filter((code) => code === 'waiting')).toHaveLength(44);
  expect(desk.batchSizes.at(-1)).toBeGreaterThan(1);
});

test('an operation that waited for its line too long is told so, also while others of its lane go on', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['hot']);
  await using desk = openDesk(db, { lineWaitMs: 600 });
  const holder = await db.connect();
  await holder.query('begin');
  await holder.query(`select from signalbox.lines where queue = 'hot' for update`);
  await expect(desk.acquire('hot', 'a')).rejects.toMatchObject({ code: 'overloaded' });
  await holder.query('commit');
  expect((await desk.acquire('hot', 'b')).decision.code).toBe('held');
});
