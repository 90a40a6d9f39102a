import type pg from 'pg';
import { benchQueue, makeQueues, queueCount } from '../bench-queues.ts';
import { acquirePath, claimPath, type Clients, type Lease, openClients } from '../clients.ts';
import { type HttpContender, startOneUpdate, startSignalbox } from '../contenders/http-contender.ts';
import type { Measure } from '../rig.ts';
import { interleave } from '../rounds.ts';

const clientCount = 64;

/** Renewals of 10,000 leases over 64 connections, and how many of the row versions they made were heap-only. */
export const renewals: Measure = {
  name: 'renewals',
  run: async (rig, scope) => {
    const oneUpdate = await startOneUpdate(rig, scope);
    const first = await startSignalbox(rig, scope);
    const database = await rig.connect(first.databaseUrl, scope);
    await makeQueues(first, database);
    const held = new Map<HttpContender, readonly Lease[]>();
    held.set(oneUpdate, await holdAll(oneUpdate));
    const leases = await holdAll(first);
    // What a connection counted of its updates is written down when it ends: from here on only renewals are counted.
    await first.stop();
    const signalbox = await startSignalbox(rig, scope, { databaseUrl: first.databaseUrl });
    held.set(signalbox, leases);

    const before = await updatesOf(database);
    await interleave(
      rig,
      [...held].map(([server, all]) => ({
        name: server.name,
        turn: async () => {
          using clients = openClients(server.urls, clientCount);
          const value = await renewalRate(clients, all, rig.extent.seconds);
          return [{ measure: 'renewals_64', unit: 'renewals/s', value }];
        },
      })),
    );
    await signalbox.stop();
    const after = await updatesOf(database);
    const share = (after.hot - before.hot) / (after.all - before.all);
    rig.results.add('renew_hot_share', 'signalbox', 'share', share);
  },
};

/** Takes the lease of every queue, for long enough to be renewed for a whole run. */
async function holdAll({ name, urls }: HttpContender): Promise<Lease[]> {
  using clients = openClients(urls, clientCount);
  const leases: Lease[] = [];
  const ttl = name === 'one_update' ? {} : { ttl_ms: 300_000 };
  await Promise.all(
    Array.from({ length: clientCount }, async (_, client) => {
      for (let n = client; n < queueCount; n += clientCount) {
        leases[n] = await clients.post<Lease>(client, acquirePath(benchQueue(n)), {
          holder: `client-${client}`,
          ...ttl,
        });
      }
    }),
  );
  return leases;
}

async function renewalRate(clients: Clients, leases: readonly Lease[], seconds: number): Promise<number> {
  let renewed = 0;
  const startedAtMs = performance.now();
  const endAtMs = startedAtMs + seconds * 1000;
  await Promise.all(
    Array.from({ length: clients.count }, async (_, client) => {
      for (let n = client; performance.now() < endAtMs; n = (n + clients.count) % leases.length) {
        const lease = leases[n];
        if (lease === undefined) throw new Error(`no lease of ${benchQueue(n)}`);
        const path = claimPath(benchQueue(n), lease.claim_id, 'renew');
        await clients.post(client, path, { fencing_token: lease.fencing_token });
        renewed++;
      }
    }),
  );
  return (renewed / (performance.now() - startedAtMs)) * 1000;
}

async function updatesOf(database: pg.Client): Promise<{ all: number; hot: number }> {
  const { rows } = await database.query<{ all: number; hot: number }>(
    `select n_tup_upd::float8 as all, n_tup_hot_upd::float8 as hot from pg_stat_user_tables
     where schemaname = 'signalbox' and relname = 'leases'`,
  );
  const [counted] = rows;
  if (counted === undefined) throw new Error('no statistics of signalbox.leases');
  return counted;
}
