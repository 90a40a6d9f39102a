import type { Announcer } from '../../src/notifier/announcer.ts';
import { TakerRoom } from '../../src/notifier/taker-room.ts';
import { WaitingRoom } from '../../src/notifier/waiting-room.ts';
import { DecisionDesk } from '../../src/queues/decision-desk.ts';
import { News } from '../../src/queues/news.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { Database } from '../../src/store/database.ts';
import type { Operation } from '../../src/store/decisions.ts';
import type { TestDatabase } from './database.ts';
import { type AcquireOptions, acquireItem, rowsOf } from './sql-verbs.ts';
import { until } from './until.ts';

/** A desk over real connections, as a replica has it; nobody else is told its news. */
export function openDesk(db: TestDatabase, { lineWaitMs }: { readonly lineWaitMs: number }) {
  const database = new Database({ url: db.url, connectTimeoutMs: 5000, statementTimeoutMs: 20_000 });
  const batchSizes: number[] = [];
  const announcer = { announceMoved: () => undefined, announceReady: () => undefined } as unknown as Announcer;
  const desk = new DecisionDesk({
    db: database,
    clock: systemClock,
    news: new News({
      room: new WaitingRoom(),
      takers: new TakerRoom(),
      cleaners: new TakerRoom(),
      announcer,
      onDelayed: () => undefined,
      onStir: () => undefined,
      onDecisions: () => undefined,
    }),
    autoCreateQueues: true,
    batchMax: 100,
    inFlightMax: 1,
    pendingMax: 1000,
    lineWaitMs,
    onBatch: (size) => batchSizes.push(size),
  });
  const decide = (operation: object) => desk.decide(operation as Operation);
  return {
    decide,
    /** Operations of each call so far, lanes included. */
    batchSizes,
    acquire: (queue: string, claimId: string, options?: AcquireOptions) =>
      decide({ metadata: {}, fresh: false, ...acquireItem(queue, claimId, { labels: {}, ...options }) }),
    /** Resolves when one of the desk's statements waits for a lock. */
    isBlocked: async () => {
      await until(
        async () =>
          (
            await rowsOf(
              db,
              `select from pg_stat_activity
               where datname = current_database() and wait_event_type = 'Lock' and query like '%signalbox_v1.decide%'`,
            )
          ).length,
        { what: 'a statement of the desk waits for a lock' },
      );
    },
    [Symbol.asyncDispose]: () => database.stop(),
  };
}
