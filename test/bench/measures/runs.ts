import { randomUUID } from 'node:crypto';
import { type Clients, claimPath, type Lease, openClients } from '../clients.ts';
import { startSignalbox } from '../contenders/http-contender.ts';
import type { Measure } from '../rig.ts';
import { interleave } from '../rounds.ts';

interface Taken {
  readonly claims: readonly (Lease & { readonly queue: string })[];
}

/** The whole life of runs: enqueued, taken by prefix, released, each client doing all three. */
export const runs: Measure = {
  name: 'runs',
  run: async (rig, scope) => {
    const server = await startSignalbox(rig, scope);
    await interleave(rig, [
      {
        name: 'signalbox',
        turn: async () => {
          const rateOf = async (count: number) => {
            using clients = openClients(server.urls, count);
            return await runRate(clients, rig.extent.seconds);
          };
          return [
            { measure: 'runs_64', unit: 'runs/s', value: await rateOf(64) },
            { measure: 'runs_1', unit: 'runs/s', value: await rateOf(1) },
          ];
        },
      },
    ]);
  },
};

async function runRate(clients: Clients, seconds: number): Promise<number> {
  let done = 0;
  const startedAtMs = performance.now();
  const endAtMs = startedAtMs + seconds * 1000;
  await Promise.all(
    Array.from({ length: clients.count }, async (_, client) => {
      const holder = `worker-${client}`;
      for (let turn = 0; performance.now() < endAtMs; turn++) {
        const queue = encodeURIComponent(`runs/${(client * 16 + turn) % 1000}`);
        await clients.post(client, `/v1/queues/${queue}/enqueue`, { claim_id: randomUUID(), payload: { turn } });
        // Whose run it gets is all the same; there is at least one for it.
        const { claims } = await clients.post<Taken>(client, '/v1/take', { holder, prefix: 'runs/', wait_ms: 5000 });
        for (const claim of claims) {
          const ending = { fencing_token: claim.fencing_token, outcome: 'success' };
          await clients.post(client, claimPath(claim.queue, claim.claim_id, 'release'), ending);
          done++;
        }
      }
    }),
  );
  return (done / (performance.now() - startedAtMs)) * 1000;
}
