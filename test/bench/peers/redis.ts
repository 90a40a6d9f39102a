import { randomUUID } from 'node:crypto';
import { type Locks, measurePairs } from './lock-load.ts';
import { importPeerPackage } from './packages.ts';
import type { LockPeer } from './peer.ts';
import { startServerProgram } from './server-program.ts';

/** As much of ioredis as is used here. */
interface Redis {
  connect(): Promise<void>;
  set(key: string, value: string, unit: 'PX', ttlMs: number, condition: 'NX'): Promise<'OK' | null>;
  script(subcommand: 'LOAD', script: string): Promise<string>;
  evalsha(sha: string, keys: number, key: string, value: string): Promise<number>;
  disconnect(): void;
}
interface IoRedis {
  readonly Redis: new (port: number, host: string, options: { lazyConnect: boolean }) => Redis;
}

/** Deletes the key only while the caller's value is in it: a lock that expired may be somebody else's by now. */
const releaseScript = `if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) else return 0 end`;
const ttlMs = 30_000;

/** SET NX PX and the release script, every write synced before it is answered; a connection per client. No waiting. */
export async function openRedis(): Promise<LockPeer | undefined> {
  const library = await importPeerPackage<IoRedis>('ioredis');
  if (library === undefined) return undefined;
  const server = await startServerProgram('redis-server', {
    ports: 1,
    args: (dataDir, ports) => [
      ...['--bind', '127.0.0.1', '--port', ports.join(), '--dir', dataDir, '--save', ''],
      ...['--appendonly', 'yes', '--appendfsync', 'always'],
    ],
    ready: ({ process }) => process.line(/Ready to accept connections/),
  });
  if (server === undefined) return undefined;
  const [port = 0] = server.ports;
  return {
    name: 'redis_aof_always',
    pairs: async (clients, seconds) => {
      const connections = Array.from(
        { length: clients },
        () => new library.Redis(port, '127.0.0.1', { lazyConnect: true }),
      );
      try {
        await Promise.all(connections.map((connection) => connection.connect()));
        const sha = (await connections[0]?.script('LOAD', releaseScript)) ?? '';
        return await measurePairs(redisLocks(connections, sha), clients, seconds);
      } finally {
        for (const connection of connections) connection.disconnect();
      }
    },
    close: () => server.stop(),
  };
}

function redisLocks(connections: readonly Redis[], sha: string): Locks<string> {
  const of = (client: number) => {
    const connection = connections[client];
    if (connection === undefined) throw new RangeError(`client ${client} of ${connections.length}`);
    return connection;
  };
  return {
    acquire: async (client, key) => {
      const token = randomUUID();
      if ((await of(client).set(`lock:${key}`, token, 'PX', ttlMs, 'NX')) !== 'OK') throw new Error('not granted');
      return token;
    },
    release: async (client, key, token) => {
      if ((await of(client).evalsha(sha, 1, `lock:${key}`, token)) !== 1) throw new Error('not released');
    },
  };
}
