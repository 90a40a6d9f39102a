import { makeQueues, shareQueues } from '../bench-queues.ts';
import { openClients } from '../clients.ts';
import { startSignalbox } from '../contenders/http-contender.ts';
import { pairLoad } from '../loads/pair-load.ts';
import type { Measure } from '../rig.ts';
import { interleave } from '../rounds.ts';

const clientCount = 64;
const limits = [
  { name: 'limit_10', concurrency_limit: 10 },
  { name: 'limit_none', concurrency_limit: null },
  { name: 'limit_1', concurrency_limit: 1 },
] as const;
const queues = 3200;

/** The same pairs on queues with a limit and without. */
export const limit: Measure = {
  name: 'limit',
  run: async (rig, scope) => {
    const server = await startSignalbox(rig, scope);
    const database = await rig.connect(server.databaseUrl, scope);
    for (const { name, concurrency_limit } of limits)
      await makeQueues(server, database, { queues, prefix: name, settings: { concurrency_limit } });
    await interleave(
      rig,
      limits.map(({ name }) => ({
        name,
        turn: async () => {
          using clients = openClients(server.urls, clientCount);
          const queueOf = shareQueues(clientCount, queues, (n) => `${name}-${n}`);
          const { perSecond } = await pairLoad(clients, { seconds: rig.extent.seconds, queueOf });
          return [{ measure: 'limit', unit: 'pairs/s', value: perSecond }];
        },
      })),
    );
  },
};
