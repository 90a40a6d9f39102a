import pg from 'pg';
import { median } from './statistics.ts';

/** Pages that one call of the deciding function touches, in memory or not, its nested statements included. */
async function pagesOf(database: pg.ClientBase, operation: object): Promise<number> {
  const call = `signalbox_v1.decide(${pg.escapeLiteral(JSON.stringify([operation]))}, false, true)`;
  const { rows } = await database.query<{ 'QUERY PLAN': readonly [{ Plan: Readonly<Record<string, number>> }] }>(
    `explain (analyze, buffers, format json) select * from ${call}`,
  );
  const plan = rows[0]?.['QUERY PLAN'][0].Plan;
  return (plan?.['Shared Hit Blocks'] ?? NaN) + (plan?.['Shared Read Blocks'] ?? NaN);
}

/** Median over the queues of what an acquire and its release touch. The first few fill this connection's caches. */
export async function pagesOfPair(database: pg.ClientBase, queues: readonly string[]): Promise<number> {
  const uncounted = 10;
  const pages: number[] = [];
  for (const [place, queue] of queues.entries()) {
    const claim = { queue, claim_id: `explained-${place}` };
    await database.query('begin');
    try {
      const acquire = { op: 'acquire', ...claim, holder: 'explained', priority: 0, mode: 'wait', listen_ms: 0 };
      const acquired = await pagesOf(database, { ...acquire, labels: {}, metadata: {}, fresh: false });
      const released = await pagesOf(database, {
        op: 'release',
        ...claim,
        fencing_token: await tokenOf(database, claim),
      });
      if (place >= uncounted) pages.push(acquired + released);
    } finally {
      await database.query('rollback');
    }
  }
  return median(pages);
}

/** Median of what the release of a queue's holder touches, which hands its place to the first in line. */
export async function pagesOfHandOver(database: pg.ClientBase, queue: string, times: number): Promise<number> {
  const uncounted = 5;
  const pages: number[] = [];
  for (let time = 0; time < uncounted + times; time++) {
    await database.query('begin');
    try {
      const { rows } = await database.query<{ claim_id: string; fencing_token: string }>(
        'select claim_id, fencing_token from signalbox_v1.leases where queue = $1',
        [queue],
      );
      const [held] = rows;
      if (held === undefined) throw new Error(`nobody holds ${queue}`);
      const release = { op: 'release', queue, claim_id: held.claim_id, fencing_token: Number(held.fencing_token) };
      const touched = await pagesOf(database, release);
      if (time >= uncounted) pages.push(touched);
    } finally {
      await database.query('rollback');
    }
  }
  return median(pages);
}

async function tokenOf(database: pg.ClientBase, claim: { queue: string; claim_id: string }): Promise<number> {
  const { rows } = await database.query<{ fencing_token: string }>(
    'select fencing_token from signalbox_v1.leases where queue = $1 and claim_id = $2',
    [claim.queue, claim.claim_id],
  );
  if (rows[0] === undefined) throw new Error(`${claim.queue}: not granted`);
  return Number(rows[0].fencing_token);
}
