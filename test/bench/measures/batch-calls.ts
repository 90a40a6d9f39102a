import { randomUUID } from 'node:crypto';
import { makeQueues, shareQueues } from '../bench-queues.ts';
import { type Clients, type Lease, openClients } from '../clients.ts';
import { startSignalbox } from '../contenders/http-contender.ts';
import { jobsOf, openPeers } from '../contenders/peers.ts';
import { openGraphileBest } from '../peers/graphile-worker.ts';
import { openPgBossBest } from '../peers/pg-boss.ts';
import type { Measure } from '../rig.ts';
import { interleave } from '../rounds.ts';

const connections = 8;
const operationsPerCall = 100;

/** 100 acquires in one call, their releases in the next; beside them job queues that fetch up to 500 jobs at once. */
export const batchCalls: Measure = {
  name: 'batch-calls',
  run: async (rig, scope) => {
    const signalbox = await startSignalbox(rig, scope);
    await makeQueues(signalbox, await rig.connect(signalbox.databaseUrl, scope));
    const peers = await openPeers(rig, scope, [
      () => openGraphileBest(rig.adminUrl),
      () => openPgBossBest(rig.adminUrl),
    ]);
    await interleave(rig, [
      {
        name: 'signalbox',
        turn: async () => {
          using clients = openClients(signalbox.urls, connections);
          const before = rig.cpu(signalbox.pids);
          const pairs = await batchLoad(clients, rig.extent.seconds);
          const after = rig.cpu(signalbox.pids);
          const perPair = (part: 'load' | 'server' | 'postgres') => ({
            measure: `cpu_${part}_batch_100`,
            unit: 'µs/pair',
            value: (after[part] - before[part]) / pairs.count,
          });
          return [
            { measure: 'pairs_batch_100', unit: 'pairs/s', value: pairs.perSecond },
            perPair('server'),
            perPair('postgres'),
            perPair('load'),
          ];
        },
      },
      ...peers.map((peer) => jobsOf(peer, 'jobs_batch', rig.extent.isQuick ? 10_000 : 20_000)),
    ]);
  },
};

async function batchLoad(clients: Clients, seconds: number): Promise<{ count: number; perSecond: number }> {
  const queueOf = shareQueues(clients.count);
  const load = randomUUID();
  const startedAtMs = performance.now();
  const endAtMs = startedAtMs + seconds * 1000;
  let count = 0;
  await Promise.all(
    Array.from({ length: clients.count }, async (_, client) => {
      for (let turn = 0; performance.now() < endAtMs; turn++) {
        const queues = Array.from({ length: operationsPerCall }, (__, n) =>
          queueOf(client, turn * operationsPerCall + n),
        );
        const holder = `client-${client}`;
        const leases = await batch<Lease>(
          clients,
          client,
          queues.map((queue, n) => ({ op: 'acquire', queue, holder, claim_id: `${load}-${client}-${turn}-${n}` })),
        );
        await batch(
          clients,
          client,
          leases.map(({ claim_id, fencing_token }, n) => ({
            op: 'release',
            queue: queues[n],
            claim_id,
            fencing_token,
          })),
        );
        count += operationsPerCall;
      }
    }),
  );
  return { count, perSecond: (count / (performance.now() - startedAtMs)) * 1000 };
}

/** Every operation must succeed. */
async function batch<Body>(clients: Clients, client: number, operations: readonly object[]): Promise<Body[]> {
  const { results } = await clients.post<{ results: readonly { status: number; body: Body }[] }>(client, '/v1/batch', {
    operations,
  });
  const refused = results.find(({ status }) => status !== 200);
  if (refused !== undefined) throw new Error(`an operation was answered ${JSON.stringify(refused)}`);
  return results.map(({ body }) => body);
}
