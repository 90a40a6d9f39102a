import { expect } from 'vitest';
import type { Decision } from '../../src/store/decisions.ts';
import { type Connection, decide, oneOf, rowsOf } from './sql-verbs.ts';

export interface EnqueueOptions {
  readonly payload?: string;
  readonly priority?: number;
  readonly delay_ms?: number;
  readonly max_attempts?: number;
  readonly max_age_ms?: number;
}
export interface Ending {
  readonly outcome?: string;
  readonly retry_after_ms?: number;
  readonly error?: string;
}
export interface Taken {
  readonly claim_id: string;
  readonly fencing_token: number;
  readonly attempt: number;
  readonly max_attempts: number;
  readonly payload: string | null;
}
/** The counters of a line, and whether it is among the ready queues. */
export interface LineCounts {
  readonly runs: number;
  readonly delayed: number;
  readonly blockers: number;
  readonly dead: number;
}

/** The verbs on the runs of one queue, on one connection, in SQL. */
export function onRuns(on: Connection, queue: string) {
  const verb = (name: string, ...parameters: readonly unknown[]) =>
    rowsOf<Decision>(
      on,
      `select * from signalbox_v1.${name}(${['$1', ...parameters.map((_none, n) => `$${n + 2}`)].join(', ')})`,
      [queue, ...parameters],
    );
  const answer = async (name: string, ...parameters: readonly unknown[]) => {
    const rows = await verb(name, ...parameters);
    const [row, ...others] = rows.filter(({ item }) => item === 0);
    if (row === undefined || others.length > 0) throw new Error(`expected one answer, got ${JSON.stringify(rows)}`);
    return row;
  };
  const take = async (max = 1, holder = 'worker') => {
    const items = JSON.stringify([{ holder, queue, max }]);
    const rows = await rowsOf<Decision>(on, 'select * from signalbox_v1.take($1, true)', [items]);
    return rows.filter(({ code }) => code === 'taken').map(({ body }) => body as unknown as Taken);
  };
  const release = async (claimId: string, token: number, ending: Ending) => {
    const item = { op: 'release', queue, claim_id: claimId, fencing_token: token, ...ending };
    const rows = await decide(on, [item], { wait: true });
    return rows.find((row) => row.item === 0);
  };
  return {
    /** In one call, in this order. */
    enqueueMany: async (claimIds: readonly string[]) => {
      const items = claimIds.map((claim_id) => ({ op: 'enqueue', queue, claim_id }));
      await decide(on, items, { wait: true });
    },
    enqueue: async (claimId: string, options: EnqueueOptions = {}) =>
      (await decide(on, [{ op: 'enqueue', queue, claim_id: claimId, ...options }], { wait: true })).find(
        ({ item }) => item === 0,
      ),
    /** As a user does: into the inbox. */
    enqueueBySql: (claimId: string, payload = 'null', delayMs = 0) =>
      rowsOf(on, 'select signalbox_v1.enqueue($1, $2, $3::json, p_delay_ms => $4)', [queue, claimId, payload, delayMs]),
    take,
    release,
    /** Takes the next run, which must be this one, and ends it so. */
    work: async (claimId: string, ending: Ending) => {
      const [taken] = await take();
      expect(taken?.claim_id).toBe(claimId);
      return release(claimId, taken?.fencing_token ?? 0, ending);
    },
    redrive: (claimIds: readonly string[] | null, max = 100, diedBy: unknown = null) =>
      verb('redrive', claimIds, 'tester', max, diedBy),
    purge: (claimIds: readonly string[] | null, max = 100, diedBy: unknown = null) =>
      verb('purge', claimIds, 'tester', max, diedBy),
    skip: (claimId: string) => answer('skip_run', claimId, 'tester', 'because'),
    retry: (claimId: string) => answer('retry_run', claimId, 'tester', 'because'),
    unblock: (max = 100) => verb('unblock', 'tester', 'because', max),
    /** Runs in line, in order. */
    line: async () =>
      (
        await rowsOf<{ claim_id: string }>(
          on,
          `select claim_id from signalbox.waiting where queue = $1 and kind = 'run' order by priority desc, seq`,
          [queue],
        )
      ).map((row) => row.claim_id),
    counts: () =>
      oneOf<LineCounts>(on, 'select runs, delayed, blockers, dead from signalbox.lines where queue = $1', [queue]),
    /** Events of these types, the oldest first: type, claim and data. */
    events: async (...types: readonly string[]) =>
      (
        await rowsOf<{ type: string; claim_id: string | null; data: Record<string, unknown> }>(
          on,
          'select type, claim_id, data from signalbox.events where queue = $1 and type = any($2) order by id',
          [queue, types],
        )
      ).map(({ type, claim_id: claimId, data }) => [type, claimId, data]),
  };
}

/** Each query finds what must never be there, in a state that was committed. */
const faults: Readonly<Record<string, string>> = {
  'a counter of a line differs from its rows': `
    select n.queue, n.waiting, n.runs, n.delayed, n.blockers, n.dead, c.* from signalbox.lines n cross join lateral (
      select
        (select count(*) from signalbox.waiting w where w.queue = n.queue and w.kind = 'claim') as waiting_rows,
        (select count(*) from signalbox.waiting w where w.queue = n.queue and w.kind = 'run') as run_rows,
        (select count(*) from signalbox.delayed d where d.queue = n.queue) as delayed_rows,
        (select count(*) from signalbox.delayed d where d.queue = n.queue and d.blocks)
          + (select count(*) from signalbox.dead_letters x where x.queue = n.queue and x.blocks) as blocker_rows,
        (select count(*) from signalbox.dead_letters x where x.queue = n.queue) as dead_rows) c
    where (n.waiting, n.runs, n.delayed, n.blockers, n.dead)
      <> (c.waiting_rows, c.run_rows, c.delayed_rows, c.blocker_rows, c.dead_rows)`,
  'a run that lives carries nothing, or what it carried is left over': `
    select * from (
      select queue, claim_id from signalbox.waiting where kind = 'run'
      union all select queue, claim_id from signalbox.delayed where kind = 'run'
      union all select queue, claim_id from signalbox.leases where kind = 'run' and state = 'held') live
    full join signalbox.runs r using (queue, claim_id)
    where live.* is null or r.* is null`,
  'a run is in two places': `
    select queue, claim_id, count(*) from (
      select queue, claim_id from signalbox.leases where state = 'held'
      union all select queue, claim_id from signalbox.waiting
      union all select queue, claim_id from signalbox.delayed
      union all select queue, claim_id from signalbox.dead_letters) places
    group by 1, 2 having count(*) > 1`,
  'a line that is due later than its first delayed row': `
    select n.queue, n.next_due_at, d.due_at from signalbox.lines n cross join lateral (
      select min(d.due_at) as due_at from signalbox.delayed d where d.queue = n.queue) d
    where d.due_at < coalesce(n.next_due_at, 'infinity')`,
  'what a holder has taken differs from what it holds': `
    select * from (select holder, queue, slot, fencing_token from signalbox.leases
      where kind = 'run' and state = 'held') held
    full join signalbox.taken t using (holder, queue, slot, fencing_token)
    where held.* is null or t.* is null`,
};

/** The invariants of the tables of runs, whatever happened before. */
export async function expectSoundRuns(on: Connection): Promise<void> {
  const found: Record<string, unknown> = {};
  for (const [fault, sql] of Object.entries(faults)) {
    const rows = await rowsOf(on, sql);
    if (rows.length > 0) found[fault] = rows;
  }
  expect(found).toEqual({});
}
