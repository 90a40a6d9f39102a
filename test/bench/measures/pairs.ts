import { findPgBouncer } from '../../support/pgbouncer.ts';
import { makeQueues, shareQueues } from '../bench-queues.ts';
import { openClients } from '../clients.ts';
import {
  type HttpContender,
  startFastifyPost,
  startOneUpdate,
  startPooler,
  startSignalbox,
} from '../contenders/http-contender.ts';
import { jobsOf, openPeers, pairsOf } from '../contenders/peers.ts';
import { type PairLoadOptions, pairLoad } from '../loads/pair-load.ts';
import { openEtcdGateway } from '../peers/etcd.ts';
import { openGraphileDefault } from '../peers/graphile-worker.ts';
import { openPgBossLoop } from '../peers/pg-boss.ts';
import { openRedis } from '../peers/redis.ts';
import type { Measure, Rig, Scope } from '../rig.ts';
import { type Contender, type Figure, interleave } from '../rounds.ts';

/** The claims are named by their clients, as ours does it; `signalbox_names_claims` leaves that to the replica. Acquire + release over HTTP, 10,000 queues, 64 connections and 1; beside them the peers, one key or job at a time. */
export const pairs: Measure = {
  name: 'pairs',
  run: async (rig, scope) => {
    const servers = [
      await startFastifyPost(scope),
      await startOneUpdate(rig, scope),
      ...(await startAllSignalboxes(rig, scope)),
    ];
    const locks = await openPeers(rig, scope, [openEtcdGateway, openRedis]);
    const queues = await openPeers(rig, scope, [
      () => openGraphileDefault(rig.adminUrl),
      () => openPgBossLoop(rig.adminUrl),
    ]);
    // With one connection, more replicas or a pooler would show nothing of their own.
    const alone = servers.filter(({ name }) => ['fastify_post', 'one_update', 'signalbox'].includes(name));
    await interleave(rig, [
      ...servers.map((server) => overHttp(rig, server, 64)),
      ...servers
        .filter(({ name }) => name === 'signalbox')
        .map((server) => overHttp(rig, { ...server, name: 'signalbox_names_claims' }, 64, () => undefined)),
      ...locks.map((peer) => pairsOf(peer, 64, rig.extent.seconds)),
      ...queues.map((peer) => jobsOf(peer, 'jobs_single', rig.extent.isQuick ? 4000 : 10_000)),
      ...alone.map((server) => overHttp(rig, server, 1)),
      ...locks.map((peer) => pairsOf(peer, 1, rig.extent.seconds / 2)),
    ]);
  },
};

async function startAllSignalboxes(rig: Rig, scope: Scope): Promise<HttpContender[]> {
  const started = [
    await startSignalbox(rig, scope),
    await startSignalbox(rig, scope, { name: 'signalbox_3_replicas', replicas: 3 }),
  ];
  if (findPgBouncer() === undefined) rig.say('  PgBouncer is not installed');
  else {
    const pooler = await startPooler(rig, scope);
    started.push(await startSignalbox(rig, scope, { name: 'signalbox_pgbouncer', pooler }));
  }
  for (const server of started) await makeQueues(server, await rig.connect(server.databaseUrl, scope));
  return started;
}

function overHttp(
  rig: Rig,
  server: HttpContender,
  connections: number,
  claimIdOf?: PairLoadOptions['claimIdOf'],
): Contender {
  const seconds = connections === 1 ? rig.extent.seconds / 2 : rig.extent.seconds;
  return {
    name: server.name,
    turn: async () => {
      using clients = openClients(server.urls, connections);
      const before = rig.cpu(server.pids);
      const rate = await pairLoad(clients, { seconds, queueOf: shareQueues(connections), claimIdOf });
      const after = rig.cpu(server.pids);
      const perPair = (part: 'load' | 'server' | 'postgres'): Figure => ({
        measure: `cpu_${part}_${connections}`,
        unit: 'µs/pair',
        value: (after[part] - before[part]) / rate.pairs,
      });
      return [
        { measure: `pairs_${connections}`, unit: 'pairs/s', value: rate.perSecond },
        { measure: `pairs_${connections}_p50`, unit: 'ms', value: rate.p50Ms },
        { measure: `pairs_${connections}_p99`, unit: 'ms', value: rate.p99Ms },
        perPair('server'),
        perPair('postgres'),
        perPair('load'),
      ];
    },
  };
}
