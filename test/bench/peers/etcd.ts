import { until } from '../../support/until.ts';
import { type HttpLoad, openHttpLoad } from '../http-load.ts';
import { type Locks, measureHandOff, measurePairs } from './lock-load.ts';
import type { LockPeer } from './peer.ts';
import { startServerProgram } from './server-program.ts';

/** etcd's lock service over its HTTP/JSON gateway, a lease and a connection per client. A cluster of one, fsync on. */
export async function openEtcdGateway(): Promise<LockPeer | undefined> {
  const urls = (ports: readonly number[]) => ports.map((port) => `http://127.0.0.1:${port}`);
  const server = await startServerProgram('etcd', {
    ports: 2,
    args: (dataDir, ports) => {
      const [clientUrl = '', peerUrl = ''] = urls(ports);
      return [
        ['--name', 'bench', '--data-dir', dataDir],
        ['--listen-client-urls', clientUrl, '--advertise-client-urls', clientUrl],
        ['--listen-peer-urls', peerUrl, '--initial-advertise-peer-urls', peerUrl],
        ['--initial-cluster', `bench=${peerUrl}`],
        ['--logger', 'zap', '--log-level', 'error', '--log-outputs', 'stderr'],
      ].flat();
    },
    ready: ({ ports }) => until(async () => (await fetch(`${urls(ports)[0]}/health`)).ok, { what: 'etcd is healthy' }),
  });
  if (server === undefined) return undefined;
  const [baseUrl = ''] = urls(server.ports);
  return {
    name: 'etcd_gateway',
    pairs: (clients, seconds) => withLocks(baseUrl, clients, (locks) => measurePairs(locks, clients, seconds)),
    handOff: (waiters, handOffs) => withLocks(baseUrl, waiters, (locks) => measureHandOff(locks, waiters, handOffs)),
    close: () => server.stop(),
  };
}

interface Locked {
  /** In base64, as it came: what unlock takes. */
  readonly key: string;
}

/** Leases are granted before and revoked after, outside of what is measured. */
async function withLocks<T>(baseUrl: string, clients: number, work: (locks: Locks<string>) => Promise<T>): Promise<T> {
  const load = openHttpLoad(baseUrl, clients);
  try {
    const leases = await Promise.all(
      Array.from({ length: clients }, async (_, client) => {
        const { ID } = await ask<{ ID: string }>(load, client, '/v3/lease/grant', '{"TTL":"600"}');
        return ID;
      }),
    );
    const result = await work({
      acquire: async (client, key) => {
        const name = Buffer.from(`bench/${key}`).toString('base64');
        const body = `{"name":"${name}","lease":"${leases[client]}"}`;
        return (await ask<Locked>(load, client, '/v3/lock/lock', body)).key;
      },
      release: async (client, _key, grant) => {
        await ask(load, client, '/v3/lock/unlock', `{"key":"${grant}"}`);
      },
    });
    await Promise.all(leases.map((ID, client) => ask(load, client, '/v3/lease/revoke', JSON.stringify({ ID }))));
    return result;
  } finally {
    load.close();
  }
}

async function ask<Answer>(load: HttpLoad, client: number, path: string, body: string): Promise<Answer> {
  const answer = await load.post(client, path, body);
  if (answer.status !== 200) throw new Error(`etcd ${path}: ${answer.status} ${answer.body}`);
  return JSON.parse(answer.body) as Answer;
}
