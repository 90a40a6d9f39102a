import type pg from 'pg';
import { configureQueue, makeQueues, shareQueues } from '../bench-queues.ts';
import { pagesOfHandOver, pagesOfPair } from '../buffers.ts';
import { acquirePath, openClients } from '../clients.ts';
import { type SignalboxContender, startSignalbox } from '../contenders/http-contender.ts';
import { copyQueue, copyRows } from '../fill.ts';
import { pair, pairLoad } from '../loads/pair-load.ts';
import type { Measure, Rig, Scope } from '../rig.ts';
import { interleave } from '../rounds.ts';

/** Queues that the load uses, out of however many there are. */
const usedQueues = 1600;
const clientCount = 16;
const dayMs = 86_400_000;

interface Sizes {
  readonly queues: number;
  readonly history: number;
  /** Claims that wait in a line of their own, and in lines of 100. */
  readonly longLine: number;
  readonly waiting: number;
}

const fullSizes: Sizes = { queues: 1_000_000, history: 10_000_000, longLine: 100_000, waiting: 1_000_000 };
const quickSizes: Sizes = { queues: 100_000, history: 500_000, longLine: 10_000, waiting: 100_000 };

interface Case {
  readonly name: string;
  readonly server: SignalboxContender;
  readonly database: pg.Client;
  readonly queues: number;
}

/**
 * What a pair costs, in time and in pages touched, with small tables and with one of them big: claims waiting, queues,
 * history. Each on a database of its own. The claims have names the server must look for in its history.
 */
export const growth: Measure = {
  name: 'growth',
  run: async (rig, scope) => {
    const sizes = rig.extent.isQuick ? quickSizes : fullSizes;
    const cases = [
      await open(rig, scope, 'small', usedQueues),
      await open(rig, scope, 'waiting', usedQueues),
      await open(rig, scope, 'queues', sizes.queues),
      await open(rig, scope, 'history', usedQueues),
    ];
    for (const { name, server, database } of cases) {
      if (name === 'waiting') await fillWaiting(server, database, sizes);
      if (name === 'history') await fillHistory(server, database, sizes.history);
      await database.query('vacuum analyze');
    }
    await cases[0]?.database.query('checkpoint');
    let turns = 0;
    await interleave(
      rig,
      cases.map(({ name, server, queues }) => ({
        name,
        turn: async () => {
          using clients = openClients(server.urls, clientCount);
          const nth = ++turns;
          const before = rig.cpu(server.pids);
          const rate = await pairLoad(clients, {
            seconds: rig.extent.seconds,
            queueOf: shareQueues(clientCount, usedQueues, usedOf(queues)),
            claimIdOf: (client, turn) => `claim-${nth}-${client}-${turn}`,
          });
          const after = rig.cpu(server.pids);
          return [
            { measure: 'growth_time', unit: 'µs/pair', value: 1e6 / rate.perSecond },
            { measure: 'growth_cpu_server', unit: 'µs/pair', value: (after.server - before.server) / rate.pairs },
            { measure: 'growth_cpu_postgres', unit: 'µs/pair', value: (after.postgres - before.postgres) / rate.pairs },
          ];
        },
      })),
    );
    for (const { name, database, queues } of cases) {
      const explained = Array.from({ length: 60 }, (_, n) => usedOf(queues)(n * 25));
      rig.results.add('growth_buffers', name, 'pages/pair', await pagesOfPair(database, explained));
    }
    const { database } = cases[1] ?? {};
    if (database === undefined) return;
    for (const [name, queue] of [
      ['line_of_100', 'line-1'],
      ['long_line', 'long-line'],
    ] as const) {
      rig.results.add('hand_over_buffers', name, 'pages/release', await pagesOfHandOver(database, queue, 30));
    }
  },
};

/** The queues in use lie evenly among all there are. */
function usedOf(queues: number) {
  return (n: number): string => `bench-${Math.floor((n * queues) / usedQueues)}`;
}

async function open(rig: Rig, scope: Scope, name: string, queues: number): Promise<Case> {
  const server = await startSignalbox(rig, scope);
  const database = await rig.connect(server.databaseUrl, scope);
  await makeQueues(server, database, { queues });
  return { name, server, database, queues };
}

/** Nobody asks for these claims, and the leader must not take that for the end of their clients. */
const patient = { max_ttl_ms: dayMs, default_ttl_ms: dayMs, waiting_ttl_ms: dayMs, max_waiting: 1_000_000 };

async function fillWaiting(server: SignalboxContender, database: pg.Client, sizes: Sizes): Promise<void> {
  await standInLine(server, 'line-sample', 100);
  const lines = (sizes.waiting - sizes.longLine) / 100;
  await copyQueue(database, { sample: 'line-sample', copies: lines, nameOf: (n) => `'line-' || ${n}` });
  await standInLine(server, 'long-line', sizes.longLine);
}

/** One claim holds the queue, so many wait. */
async function standInLine({ urls }: SignalboxContender, queue: string, waiting: number): Promise<void> {
  await configureQueue(urls[0] ?? '', queue, patient);
  using clients = openClients(urls, 64);
  await clients.post(0, acquirePath(queue), { holder: 'holder', claim_id: 'held' });
  let next = 0;
  await Promise.all(
    Array.from({ length: clients.count }, async (_, client) => {
      while (next < waiting)
        await clients.post(client, acquirePath(queue), { holder: 'waiter', claim_id: `w${next++}` });
    }),
  );
}

/** Half of it ended yesterday, half today, evenly over the queues in use. */
async function fillHistory({ urls }: SignalboxContender, database: pg.Client, rows: number): Promise<void> {
  const sample = 'bench-0';
  using clients = openClients(urls, 1);
  await pair(clients, 0, sample, 'in-history');
  await copyRows(database, {
    table: 'history',
    where: `s.queue = $1 and s.claim_id = 'in-history'`,
    sample,
    from: 1,
    to: rows,
    set: {
      // In the order of the index, so that filling takes minutes and not hours.
      queue: `'bench-' || (n - 1) / ${rows / usedQueues}`,
      claim_id: `'past-' || n`,
      ended_at: `s.ended_at - (n % 2) * interval '1 day'`,
    },
  });
}
