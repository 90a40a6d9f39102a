import { openClients } from '../clients.ts';
import { type HttpContender, startSignalbox } from '../contenders/http-contender.ts';
import { openPeers } from '../contenders/peers.ts';
import { acquireWaiting, release } from '../loads/waiting-acquire.ts';
import { openEtcdGateway } from '../peers/etcd.ts';
import { measureHandOff } from '../peers/lock-load.ts';
import type { HandOff } from '../peers/peer.ts';
import type { Measure } from '../rig.ts';
import { type Contender, interleave } from '../rounds.ts';

const waiters = 32;

/**
 * 32 clients on one lock: from just before a release is sent to the next holder being told. Across replicas every client
 * is on another one than the client that joined before it.
 */
export const handOff: Measure = {
  name: 'hand-off',
  run: async (rig, scope) => {
    const handOffs = rig.extent.isQuick ? 250 : 1000;
    const one = await startSignalbox(rig, scope);
    const three = await startSignalbox(rig, scope, { name: 'signalbox_across_3_replicas', replicas: 3 });
    const peers = await openPeers(rig, scope, [openEtcdGateway]);
    await interleave(rig, [
      ...[one, three].map((server) => contender(server.name, () => overHttp(server, handOffs))),
      ...peers.flatMap((peer) => {
        const measure = peer.handOff?.bind(peer);
        return measure === undefined ? [] : [contender(peer.name, () => measure(waiters, handOffs))];
      }),
    ]);
  },
};

function contender(name: string, measure: () => Promise<HandOff>): Contender {
  return {
    name,
    turn: async () => {
      const { p50Ms, p99Ms } = await measure();
      return [
        { measure: 'hand_off_p50', unit: 'ms', value: p50Ms },
        { measure: 'hand_off_p99', unit: 'ms', value: p99Ms },
      ];
    },
  };
}

async function overHttp({ urls }: HttpContender, handOffs: number): Promise<HandOff> {
  using clients = openClients(urls, waiters);
  const queueOf = (key: number) => `hand-off-${key}`;
  return await measureHandOff(
    {
      acquire: (client, key) => acquireWaiting(clients, client, queueOf(key)),
      release: (client, key, lease) => release(clients, client, queueOf(key), lease),
    },
    waiters,
    handOffs,
  );
}
