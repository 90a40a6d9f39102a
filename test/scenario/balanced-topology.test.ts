import { describe, expect, test } from 'vitest';
import { findViolations, readGrants } from '../support/admission-history.ts';
import { BalancedLoad } from '../support/balanced-load.ts';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { leaveOut, readCompose, replicasOf } from '../support/deployment.ts';
import { Door, findHaproxy } from '../support/haproxy.ts';
import { anId, TestClient } from '../support/http-client.ts';
import { type Replica, startReplica } from '../support/replica.ts';
import { until } from '../support/until.ts';

const limit = 4;
const workers = 24;
const keepers = 6;

const program = findHaproxy() ?? '';
if (program === '') leaveOut('the compose topology', 'haproxy is not installed');

/** The topology of docker-compose.yml on this machine: its replicas' settings, its door, one database. */
class Topology implements AsyncDisposable {
  readonly database: TestDatabase;
  readonly replicas: Replica[];
  readonly door: Door;

  private constructor(database: TestDatabase, replicas: Replica[], door: Door) {
    this.database = database;
    this.replicas = replicas;
    this.door = door;
  }

  static async start(): Promise<Topology> {
    const database = await freshDatabase();
    const replicas = await Promise.all(replicasOf(await readCompose()).map(() => startLike(database)));
    const door = await Door.start(
      program,
      replicas.map(({ url }) => url),
    );
    return new Topology(database, replicas, door);
  }

  /** Again at its old address; resolves when the door has seen it. */
  async startAgain(index: number): Promise<void> {
    const name = `replica-${index + 1}`;
    await until(() => this.door.turns(name, 'DOWN') > this.door.turns(name, 'UP'), { what: `${name} is missed` });
    this.replicas[index] = await startLike(this.database, new URL(this.replicas[index]?.url ?? '').port);
    await until(() => this.door.turns(name, 'UP') === this.door.turns(name, 'DOWN'), { what: `${name} is seen` });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.door[Symbol.asyncDispose]();
    await Promise.all(this.replicas.map((replica) => replica.kill9()));
    await this.database[Symbol.asyncDispose]();
  }
}

/** With the settings of docker-compose.yml, apart from where it listens. */
async function startLike(database: TestDatabase, port = '0'): Promise<Replica> {
  const [[, { environment }] = ['', {}]] = replicasOf(await readCompose());
  const env = { ...environment, HOST: '127.0.0.1', PORT: port, DATABASE_URL: database.url };
  return startReplica({ databaseUrl: database.url, directUrl: database.directUrl, env });
}

/** The load on a queue of its own, running. */
async function startLoad({ door }: Topology): Promise<{ queue: string; load: BalancedLoad }> {
  const queue = anId('shared');
  expect((await new TestClient(door.url).put(queue, { concurrency_limit: limit })).status).toBe(200);
  const load = new BalancedLoad({ url: door.url, queue, workers, keepers });
  await goesOn(load);
  return { queue, load };
}

/** Resolves when every client has got something done since it was called. */
async function goesOn(load: BalancedLoad): Promise<void> {
  const { granted, renewed } = load;
  const isMoving = () => load.granted >= granted + 2 * workers && load.renewed >= renewed + 2 * workers + keepers;
  await until(() => isMoving() || load.wrong.length > 0, { what: 'the load goes on', timeoutMs: 30_000 });
}

/** What the database says of it all, once the load has stopped. */
async function expectSound({ database, door }: Topology, queue: string, load: BalancedLoad): Promise<void> {
  expect(load.wrong).toEqual([]);
  expect(load.released).toBe(load.granted);
  const grants = await readGrants(database, queue);
  expect(findViolations(grants, { limit, seen: load.seen })).toEqual([]);
  expect(grants).toHaveLength(load.granted);

  // Who came earlier was served earlier, whatever replica it asked: nobody lost a place in line.
  const { rows: overtaken } = await database.query(
    `select claim_id from (
       select claim_id, enqueued_at, max(enqueued_at) over (order by fencing_token rows between unbounded preceding and 1 preceding) as before
       from signalbox.history where queue = $1 and slot is not null) g where enqueued_at < before`,
    [queue],
  );
  expect(overtaken).toEqual([]);
  const { rows: ends } = await database.query('select distinct state, reason from signalbox.history where queue = $1', [
    queue,
  ]);
  expect(ends).toEqual([{ state: 'released', reason: 'released' }]);

  // Keepers have had one lease all along and still have it.
  expect(load.kept).toHaveLength(keepers);
  const client = new TestClient(door.url);
  for (const lease of load.kept) {
    expect((await client.renew(lease)).status).toBe(200);
    expect(await readGrants(database, lease.queue)).toMatchObject([{ token: lease.fencing_token, endedAt: null }]);
  }
}

function tell(what: string, load: BalancedLoad, topology: Topology, more: object = {}): void {
  const { requests, granted, renewed, failedOnce } = load;
  const figures = { requests, granted, renewed, repeatedByTheDoor: topology.door.repeated, failedOnce, ...more };
  process.stdout.write(`${what}: ${JSON.stringify(figures)}\n`);
}

describe.skipIf(program === '')('the topology of docker-compose.yml', { timeout: 180_000 }, () => {
  test('survives a restart of each replica in turn under load: nothing is lost, and one retry gets every answer', async () => {
    await using topology = await Topology.start();
    const { queue, load } = await startLoad(topology);
    const noticedMs: number[] = [];
    for (const [index, replica] of [...topology.replicas.entries()]) {
      const startedAt = performance.now();
      const exit = replica.terminate();
      const name = `replica-${index + 1}`;
      await until(() => topology.door.turns(name, 'DOWN') > topology.door.turns(name, 'UP'), { what: 'it is noticed' });
      noticedMs.push(Math.round(performance.now() - startedAt));
      expect(await exit).toBe(0);
      await goesOn(load);
      await topology.startAgain(index);
      await goesOn(load);
    }
    await load.stop();
    tell('rolling restart', load, topology, { noticedMs });
    // SHUTDOWN_DELAY_MS: the door had noticed before the replica closed. Without it each call of a second or so is made twice.
    expect(topology.door.repeated).toBeLessThan(workers);
    await expectSound(topology, queue, load);
  });

  test('survives kill -9 of a replica under load: what it broke off is answered by another', async () => {
    await using topology = await Topology.start();
    const { queue, load } = await startLoad(topology);
    await topology.replicas[0]?.kill9();
    await goesOn(load);
    await topology.startAgain(0);
    await goesOn(load);
    await load.stop();
    tell('kill -9', load, topology);
    await expectSound(topology, queue, load);
  });
});
