import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BackgroundProcess } from '../support/background-process.ts';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { type Replica, startReplica } from '../support/replica.ts';
import { expectSoundQueues } from '../support/sound-queues.ts';
import { rowsOf } from '../support/sql-verbs.ts';
import { until } from '../support/until.ts';

const queueCount = 25;
const itemsPerQueue = 160;
const processes = 8;
const workersPerProcess = 5;
/** Longer than what the machine may stall a worker of ten milliseconds' work. */
const ttlMs = 2000;
const program = join(import.meta.dirname, '../support/stream-worker.ts');

/** One grant, as the database remembers it. */
interface Grant {
  readonly queue: string;
  readonly claim_id: string;
  readonly attempt: number;
  readonly reason: string;
  readonly outcome: string | null;
  readonly final: boolean;
  readonly acquired_at: Date;
  readonly ended_at: Date;
}
/** One piece of work, as its worker remembers it; without an end if the worker was killed in it. */
interface Work {
  readonly claimId: string;
  readonly token: number;
  readonly attempt: number;
  readonly beginMs: number;
  endMs: number | undefined;
}

const itemName = (number: number) => `item-${String(number).padStart(4, '0')}`;
const itemsInOrder = Array.from({ length: itemsPerQueue }, (_, number) => itemName(number));
const queues = Array.from({ length: queueCount }, (_, number) => `stream/${number}`);
const withoutRepeats = (items: readonly string[]) => items.filter((item, index) => item !== items[index - 1]);

describe('4,000 items in 25 queues of limit 1, 40 workers, one process of five killed with -9 every second', () => {
  let database: TestDatabase;
  let replicas: readonly Replica[];
  let directory: string;
  let grants: readonly Grant[];
  let works: Map<string, Work[]>;
  let kills = 0;

  beforeAll(async () => {
    database = await freshDatabase();
    directory = await mkdtemp(join(tmpdir(), 'signalbox-streams-'));
    const env = { LEADER_LEASE_SECONDS: '2' };
    replicas = await Promise.all(
      [1, 2].map(() => startReplica({ databaseUrl: database.url, directUrl: database.directUrl, env })),
    );
    // In one transaction of a user's own, round robin: all queues become busy at once.
    await database.query(
      `select signalbox_v1.enqueue('stream/' || q, 'item-' || lpad(n::text, 4, '0'), to_json(n), p_max_attempts => 1000)
       from generate_series(0, $2::integer - 1) n, generate_series(0, $1::integer - 1) q order by n, q`,
      [queueCount, itemsPerQueue],
    );

    const files: string[] = [];
    const start = (number: number) => {
      const file = join(directory, `record-${files.length}`);
      files.push(file);
      const url = replicas[number % replicas.length]?.url ?? '';
      return BackgroundProcess.node(program, [url, 'stream/', String(ttlMs), String(workersPerProcess), file]);
    };
    const crew = await Promise.all(Array.from({ length: processes }, (_, number) => start(number)));
    const left = async () => {
      const [row] = await rowsOf<{ left: number }>(
        database,
        `select ($1 - count(*))::integer as left from signalbox.history where final and outcome = 'success'`,
        [queueCount * itemsPerQueue],
      );
      return row?.left ?? Infinity;
    };
    const done = new AbortController();
    const killer = (async () => {
      for (let turn = 0; ; turn++) {
        await sleep(1000, undefined, { signal: done.signal }).catch(() => undefined);
        if (done.signal.aborted) return;
        const number = turn % processes;
        await crew[number]?.kill();
        kills++;
        crew[number] = await start(number);
      }
    })();
    await until(async () => (await left()) === 0, { what: 'all items have ended', timeoutMs: 150_000 });
    done.abort();
    await killer;
    await Promise.all(crew.map((process) => process.terminate()));
    grants = await rowsOf<Grant>(
      database,
      `select queue, claim_id, attempt, reason, outcome, final, acquired_at, ended_at
       from signalbox.history where slot is not null order by queue, fencing_token`,
    );
    works = await readRecords(files);
  }, 180_000);
  afterAll(async () => {
    for (const replica of replicas) await replica.kill9();
    await database[Symbol.asyncDispose]();
    await rm(directory, { recursive: true, force: true });
  });

  it('kills several workers that hold something', () => {
    expect(kills).toBeGreaterThan(2);
    expect(grants.filter(({ reason }) => reason === 'expired').length).toBeGreaterThan(0);
  });

  it('every item ends once, in the order of its queue, whatever was retried', () => {
    for (const queue of queues) {
      const own = grants.filter((grant) => grant.queue === queue);
      expect(withoutRepeats(own.map(({ claim_id: id }) => id)), queue).toEqual(itemsInOrder);
      expect(
        own.filter(({ final }) => final).map(({ claim_id: id }) => id),
        queue,
      ).toEqual(itemsInOrder);
    }
  });

  it('every further grant of an item has the next higher attempt', () => {
    for (const queue of queues) {
      const own = grants.filter((grant) => grant.queue === queue);
      own.forEach((grant, index) => {
        const previous = own[index - 1];
        const due = previous?.claim_id === grant.claim_id ? previous.attempt + 1 : 1;
        // A run whose taker hung up before it had the answer was never begun: that attempt does not count.
        const isUncounted = previous?.reason === 'untaken';
        expect(grant.attempt, `${queue} ${grant.claim_id}`).toBe(isUncounted ? previous.attempt : due);
      });
    }
  });

  it('never two of one queue at once, by the times of the database', () => {
    for (const queue of queues) {
      const own = grants.filter((grant) => grant.queue === queue);
      const overlaps = own.filter((grant, index) => grant.acquired_at < (own[index - 1]?.ended_at ?? 0));
      expect(overlaps, queue).toEqual([]);
    }
  });

  it("the workers' own record has the same order, and no two at once", () => {
    for (const queue of queues) {
      const own = (works.get(queue) ?? []).toSorted((a, b) => a.token - b.token);
      expect(withoutRepeats(own.map(({ claimId }) => claimId)), queue).toEqual(itemsInOrder);
      const overlaps = own.filter((work, index) => work.beginMs < (own[index - 1]?.endMs ?? 0));
      expect(overlaps, queue).toEqual([]);
    }
  });

  it('leaves nothing wedged, and the tables sound', async () => {
    await expectSoundQueues(database);
    const left = await rowsOf(
      database,
      `select queue, runs, delayed, blockers, dead from signalbox.lines where runs + delayed + blockers + dead > 0`,
    );
    expect(left).toEqual([]);
  });
});

async function readRecords(files: readonly string[]): Promise<Map<string, Work[]>> {
  const works = new Map<string, Work[]>();
  for (const file of files) {
    const text = await readFile(file, 'utf8').catch(() => '');
    for (const line of text.split('\n')) {
      const [what = '', at = '', queue = '', claimId = '', token = '', attempt] = line.split(' ');
      // The last line of a killed process may be cut short.
      if (attempt === undefined) continue;
      const own = works.get(queue) ?? [];
      works.set(queue, own);
      if (what === 'begin') {
        const work = { claimId, token: Number(token), attempt: Number(attempt), beginMs: Number(at), endMs: undefined };
        own.push(work);
      } else {
        const work = own.find((known) => known.token === Number(token));
        if (work !== undefined) work.endMs = Number(at);
      }
    }
  }
  return works;
}
