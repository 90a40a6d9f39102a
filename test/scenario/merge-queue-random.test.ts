import { expect, test } from 'vitest';
import { Database } from '../../src/store/database.ts';
import { freshDatabase } from '../support/database.ts';
import { runSchedule } from '../merge-queue/support/random-schedule.ts';
import { stopClock } from '../merge-queue/support/virtual-clock.ts';

/** The same in every run; another one tries other schedules: SCHEDULE_SEED=<n>. */
const firstSeed = Number(process.env['SCHEDULE_SEED'] ?? 20_261_121);
const schedules = Number(process.env['SCHEDULES'] ?? 1000);
const lanes = 4;

test('random schedules with dying replicas: never two holders, success and failure handed on, and all end', async () => {
  const totals = { calls: 0, deaths: 0 };
  const seeds = Array.from({ length: schedules }, (_, index) => firstSeed + index);
  const runLane = async () => {
    await using db = await freshDatabase();
    const clock = await stopClock(db);
    await db.query(`select signalbox_v1.campaign('leader:1:0', 1000000000)`);
    await using database = new Database({ url: db.url, connectTimeoutMs: 5000, statementTimeoutMs: 20_000 });
    for (let seed = seeds.shift(); seed !== undefined; seed = seeds.shift()) {
      try {
        const { calls, deaths } = await runSchedule({ db, database, clock }, seed);
        totals.calls += calls;
        totals.deaths += deaths;
      } catch (error) {
        seeds.length = 0;
        throw new Error(`SCHEDULE_SEED=${seed} SCHEDULES=1: ${(error as Error).message}`, { cause: error });
      }
    }
  };
  await Promise.all(Array.from({ length: lanes }, runLane));
  expect(totals.calls).toBeGreaterThan(10 * schedules);
  expect(totals.deaths).toBeGreaterThan(schedules / 2);
}, 180_000);
