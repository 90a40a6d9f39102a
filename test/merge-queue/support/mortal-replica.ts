import type { MergeQueueSettings } from '../../../src/protocol/merge-queue.ts';
import type { Database } from '../../../src/store/database.ts';
import type { TestDatabase } from '../../support/database.ts';
import type { RandomNumbers } from './random-numbers.ts';
import { type MergeReplica, openReplica } from './service.ts';

/** When a replica dies: before it reads, between read and write, or when it has written and not answered. `late`: its write arrives later. */
export type Death = 'before_read' | 'before_write' | 'after_write' | 'late_write';

export interface MortalReplica {
  readonly replica: MergeReplica;
  readonly isDead: boolean;
  /** What its client gets of the call: the answer, or undefined if the replica died first. */
  ask<Answer>(call: (replica: MergeReplica) => Promise<Answer>): Promise<Answer | undefined>;
}

export interface MortalOptions {
  readonly database: Database;
  readonly settings: Partial<MergeQueueSettings>;
  readonly random: RandomNumbers;
  /** The statement of a dead process that is still on its way; to be carried out whenever the test likes. */
  readonly onLate: (run: () => Promise<unknown>) => void;
}

/** A replica that dies after a few statements, and answers nobody from then on. */
export function mortalReplica(db: TestDatabase, { database, settings, random, onLate }: MortalOptions): MortalReplica {
  const death = random.oneOf<Death>(['before_read', 'before_write', 'after_write', 'late_write']);
  const what = death === 'before_read' ? 'read_merge_queue' : 'save_merge_queue';
  let left = random.between(1, 25);
  let isOver = false;
  const isDead = () => isOver;
  const { promise: died, resolve } = Promise.withResolvers<undefined>();
  const never = new Promise<never>(() => undefined);
  const die = () => {
    isOver = true;
    resolve(undefined);
    return never;
  };
  const replica = openReplica(db, {
    database,
    settings,
    intercept: async ({ sql }, run) => {
      if (isDead()) return never;
      const isLast = sql.includes(what) && --left <= 0;
      if (!isLast) {
        const rows = await run();
        return isDead() ? never : rows;
      }
      if (death === 'after_write') await run().catch(() => undefined);
      if (death === 'late_write') onLate(run);
      return die();
    },
  });
  return {
    replica,
    get isDead() {
      return isOver;
    },
    ask: (call) => Promise.race([call(replica), died]),
  };
}
