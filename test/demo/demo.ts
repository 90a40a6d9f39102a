// npm run demo: three replicas on the embedded server, 30 times `signalbox run` around a shell script, which compete for
// two places, and a file guarded by their tokens. One wrapper is killed, one is stopped past its lease, then the leader is
// killed; what happens is printed as it happens, and in the end it is checked.
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { readGrants } from '../support/admission-history.ts';
import { type Replica, startReplica } from '../support/replica.ts';
import { TcpBalancer } from '../support/tcp-balancer.ts';
import { until } from '../support/until.ts';
import { DemoClient, writeByHand } from './crowd.ts';
import { say, Stage } from './stage.ts';
import { judge } from './verdict.ts';

const limit = 2;
const leaseSeconds = 5;
const queue = 'demo';
const lateWriter = 'late-write';
/** Node takes a while to start: 30 at once would keep a small machine from everything else. */
const staggerMs = 300;
const usual = { jobSeconds: 0.5, ttlSeconds: 15 };
/** Whose wrapper is killed or stopped: its job does not end by itself, and nobody waits long for its lease to run out. */
const unlucky = { jobSeconds: 100, ttlSeconds: 8 };
const [toKill, toStop] = [3, 6];

const dataDir = await mkdtemp(join(tmpdir(), 'signalbox-demo-data-'));
const directory = await mkdtemp(join(tmpdir(), 'signalbox-demo-file-'));
const replicas: Replica[] = [];
const clients: DemoClient[] = [];
const balancer = await TcpBalancer.start();
const database = { client: undefined as pg.Client | undefined };
try {
  process.exitCode = (await demo()) ? 0 : 1;
} catch (error) {
  say(`the demo broke off: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
} finally {
  for (const client of clients) client.signal('SIGKILL');
  await Promise.all(clients.map(({ ended }) => ended));
  await balancer[Symbol.asyncDispose]();
  await database.client?.end().catch(() => undefined);
  // One after the other: the last to leave stops the embedded server.
  for (const replica of replicas) await replica.terminate();
  for (const path of [dataDir, directory]) await rm(path, { recursive: true, force: true });
}

async function demo(): Promise<boolean> {
  say(`three replicas start on an embedded PostgreSQL in ${dataDir} (leader lease ${leaseSeconds} s)`);
  const env = { SIGNALBOX_DATA_DIR: dataDir, LEADER_LEASE_SECONDS: `${leaseSeconds}`, LOG_LEVEL: 'warn' };
  for (let number = 1; number <= 3; number++) {
    const replica = await startReplica({ env, timeoutMs: 60_000 });
    replicas.push(replica);
    say(`replica ${await replica.id()} listens on ${replica.url}`);
  }
  const [first] = replicas;
  if (first === undefined) return false;
  const [, databaseUrl = ''] = await first.process.line(/psql "(\S+)"/);
  const db = new pg.Client({ connectionString: databaseUrl });
  database.client = db;
  await db.connect();
  const leader = await until(() => currentLeader(db), { what: 'somebody leads' });
  say(`leader is ${leader.leader}, epoch ${leader.epoch}`);
  await first.client.put(queue, { concurrency_limit: limit });

  balancer.use(...replicas.map(({ url }) => url));
  say(`30 times "signalbox run" for ${limit} places of queue "${queue}", through one address, ${balancer.url}`);
  const stage = new Stage();
  const crowd = gather(stage);

  const killed = await stage.begun(await clientNumber(toKill));
  killed.client.signal('SIGKILL');
  say(
    `KILLED   ${killed.client.name} with -9, in slot ${killed.slot}; its lease of ${unlucky.ttlSeconds} s will run out`,
  );

  const stopped = await stage.begun(await clientNumber(toStop));
  stopped.client.signal('SIGSTOP');
  say(`STOPPED  ${stopped.client.name}, in slot ${stopped.slot}: it cannot renew, and its watchdog must end the job`);
  const successor = await stage.takenOver(stopped);
  await stage.takenOver(killed);
  say(`slot ${stopped.slot} has gone on to ${successor.client.name}, token ${successor.token}`);
  const isTaken = await writeByHand(directory, stopped.token, stopped.slot, lateWriter);
  say(
    `${isTaken ? 'FAILED ' : 'REFUSED'}  a late write in slot ${stopped.slot} with the old token ${stopped.token}, by hand`,
  );
  stopped.client.signal('SIGCONT');
  say(`RESUMED  ${stopped.client.name}, which has to see that it lost its lease`);

  await crowd;
  const deposed = await until(() => currentLeader(db), { what: 'somebody leads' });
  const victim = await find(replicas, async (replica) => (await replica.id()) === deposed.leader);
  const { rows: at } = await db.query<{ now: Date }>('select clock_timestamp() as now');
  say(`KILLED   the leader ${deposed.leader} with -9, and the calls that were open there`);
  await victim.kill9();
  const next = await until(
    async () => {
      const now = await currentLeader(db);
      return now !== undefined && now.epoch > deposed.epoch && now;
    },
    { what: 'another replica leads', timeoutMs: 30_000 },
  );
  const takeoverMs = next.acquiredAt.getTime() - (at[0]?.now.getTime() ?? NaN);
  say(`leader is ${next.leader}, epoch ${next.epoch}, ${(takeoverMs / 1000).toFixed(1)} s after the kill`);

  const codes = await Promise.all(clients.map(({ ended }) => ended));
  const expected = new Map<DemoClient, number | null>([
    [killed.client, null],
    [stopped.client, 121],
  ]);
  const failed = clients.filter((client, index) => {
    const wanted = expected.get(client);
    return codes[index] !== (wanted === undefined ? 0 : wanted);
  });
  say(`all clients are done${failed.length === 0 ? '' : `; failed: ${failed.map(({ name }) => name).join(', ')}`}`);

  const findings = judge({
    limit,
    grants: await readGrants(db, queue),
    file: (await readFile(join(directory, 'file'), 'utf8')).trim().split('\n'),
    clients: clients.map(({ name }) => name),
    killed: killed.client.name,
    stopped: stopped.client.name,
    lateWriter,
    waited: [...stage.reasons.keys()],
    takeoverMs,
    takeoverMsMax: leaseSeconds * 1000 + 1000,
  });
  console.log('');
  for (const { holds, what } of findings) console.log(`${holds ? 'holds ' : 'BROKEN'}  ${what}`);
  return failed.length === 0 && findings.every(({ holds }) => holds);
}

/** Starts the clients, one after the other. */
async function gather(stage: Stage): Promise<void> {
  for (let number = 1; number <= 30; number++) {
    const name = `client-${`${number}`.padStart(2, '0')}`;
    const kind = number === toKill || number === toStop ? unlucky : usual;
    const onLine = (client: DemoClient, line: string) => stage.hear(client, line);
    clients.push(new DemoClient({ name, queue, directory, ...kind, url: balancer.url, onLine }));
    await delay(staggerMs);
  }
}

async function clientNumber(number: number): Promise<DemoClient> {
  return await until(() => clients[number - 1], { what: `client ${number} has started`, timeoutMs: 30_000 });
}

async function currentLeader(db: pg.Client): Promise<{ leader: string; epoch: number; acquiredAt: Date } | undefined> {
  const { rows } = await db.query<{ leader: string; epoch: number; acquiredAt: Date }>(
    'select leader, epoch::int as epoch, acquired_at as "acquiredAt" from signalbox_v1.leader where leads',
  );
  return rows[0];
}

async function find<T>(items: readonly T[], matches: (item: T) => Promise<boolean>): Promise<T> {
  for (const item of items) if (await matches(item)) return item;
  throw new Error('the leader is none of the three');
}
