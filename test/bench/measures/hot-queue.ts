import { randomInt } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { acquirePath, type Lease, openClients } from '../clients.ts';
import { type HttpContender, startOneUpdate, startSignalbox } from '../contenders/http-contender.ts';
import { acquireWaiting, release } from '../loads/waiting-acquire.ts';
import type { Measure, Rig } from '../rig.ts';
import { type Contender, type Figure, interleave } from '../rounds.ts';

/** A queue that one-update has too. */
const queue = 'bench-0';

/** One queue as its clients see it. */
interface HotQueue<Grant> extends AsyncDisposable {
  /** Resolves when the client holds it. */
  acquire(client: number): Promise<Grant>;
  release(client: number, grant: Grant): Promise<void>;
}

/**
 * Grants/s of one queue of limit 1 that 1, 8 and 32 clients want: waiting in line, or trying again until it works, at once
 * or after a pause, over HTTP or on a database connection each.
 */
export const hotQueue: Measure = {
  name: 'hot-queue',
  run: async (rig, scope) => {
    const signalbox = await startSignalbox(rig, scope);
    const oneUpdate = await startOneUpdate(rig, scope);
    const url = await rig.database(scope);
    await makeRow(url);
    await interleave(rig, [
      contender(rig, 'signalbox', async (count) => inLine(signalbox, count)),
      contender(rig, 'update_retry_raw', (count) => onConnections(url, count)),
      contender(rig, 'one_update_retry_at_once', async (count) => retrying(oneUpdate, count)),
      contender(rig, 'one_update_retry_5_to_15_ms', async (count) =>
        retrying(oneUpdate, count, () => sleep(randomInt(5, 16))),
      ),
    ]);
  },
};

function contender<Grant>(rig: Rig, name: string, open: (count: number) => Promise<HotQueue<Grant>>): Contender {
  return {
    name,
    turn: async () => {
      const figures: Figure[] = [];
      for (const count of [1, 8, 32]) {
        await using hot = await open(count);
        const value = await grantRate(hot, count, rig.extent.seconds / 2);
        figures.push({ measure: `hot_queue_${count}`, unit: 'grants/s', value });
      }
      return figures;
    },
  };
}

/** Each client releases as soon as it holds. Who still waits at the end gets its turn, uncounted. */
async function grantRate<Grant>(hot: HotQueue<Grant>, count: number, seconds: number): Promise<number> {
  let grants = 0;
  const startedAtMs = performance.now();
  const endAtMs = startedAtMs + seconds * 1000;
  await Promise.all(
    Array.from({ length: count }, async (_, client) => {
      while (performance.now() < endAtMs) {
        const grant = await hot.acquire(client);
        if (performance.now() < endAtMs) grants++;
        await hot.release(client, grant);
      }
    }),
  );
  return grants / seconds;
}

function inLine({ urls }: HttpContender, count: number): HotQueue<Lease> {
  const clients = openClients(urls, count);
  return {
    acquire: (client) => acquireWaiting(clients, client, queue),
    release: (client, lease) => release(clients, client, queue, lease),
    [Symbol.asyncDispose]: async () => clients[Symbol.dispose](),
  };
}

function retrying({ urls }: HttpContender, count: number, pause?: () => Promise<unknown>): HotQueue<Lease> {
  const clients = openClients(urls, count);
  return {
    acquire: async (client) => {
      for (;;) {
        const answer = await clients.ask(client, acquirePath(queue), { holder: `client-${client}` });
        if (answer.status === 200) return JSON.parse(answer.body) as Lease;
        if (answer.status !== 409) throw new Error(`${answer.status} ${answer.body}`);
        await pause?.();
      }
    },
    release: (client, lease) => release(clients, client, queue, lease),
    [Symbol.asyncDispose]: async () => clients[Symbol.dispose](),
  };
}

async function makeRow(url: string): Promise<void> {
  const [client] = await connectAll(url, 1);
  await client?.query(`create table hot (queue text primary key, holder text, token bigint not null)`);
  await client?.query(`insert into hot (queue, token) values ('hot', 0)`);
  await client?.end();
}

/** The bare statement, as often as it takes. */
async function onConnections(url: string, count: number): Promise<HotQueue<string>> {
  const connections = await connectAll(url, count);
  const run = async (client: number, name: string, text: string, values: unknown[]) => {
    const { rows } = (await connections[client]?.query({ name, text, values })) ?? { rows: [] };
    return (rows[0] as { token: string } | undefined)?.token;
  };
  return {
    acquire: async (client) => {
      const text = `update hot set holder = $1, token = token + 1 where queue = 'hot' and holder is null returning token`;
      for (;;) {
        const token = await run(client, 'acquire', text, [`client-${client}`]);
        if (token !== undefined) return token;
      }
    },
    release: async (client, token) => {
      const text = `update hot set holder = null where queue = 'hot' and token = $1 and holder is not null returning token`;
      if ((await run(client, 'release', text, [token])) === undefined) throw new Error('not released');
    },
    [Symbol.asyncDispose]: async () => {
      await Promise.all(connections.map((connection) => connection.end()));
    },
  };
}

async function connectAll(url: string, count: number): Promise<pg.Client[]> {
  const connections = Array.from({ length: count }, () => new pg.Client({ connectionString: url }));
  await Promise.all(connections.map((connection) => connection.connect()));
  return connections;
}
