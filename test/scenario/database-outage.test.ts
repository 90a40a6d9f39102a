import pg from 'pg';
import { describe, expect, test } from 'vitest';
import { anId, held, type Problem, type Reply, type TestClient } from '../support/http-client.ts';
import { startReplica } from '../support/replica.ts';
import { stoppableServer } from '../support/stoppable-server.ts';
import { until } from '../support/until.ts';

/** Acquires and releases without a pause, on a queue of its own per client, until told to stop. */
class Load {
  readonly refusals: Reply<Problem>[] = [];
  readonly odd: string[] = [];
  successes = 0;
  #stopped = false;
  readonly #clients: Promise<void>[];

  constructor(replicas: readonly TestClient[], clientsEach: number) {
    this.#clients = replicas.flatMap((replica) =>
      Array.from({ length: clientsEach }, () => this.#run(replica, anId('load'))),
    );
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#clients);
  }

  async #run(client: TestClient, queue: string): Promise<void> {
    for (let round = 0; !this.#stopped; round++) {
      // Asked again under the same id until it is answered: what a refusal left unknown is settled by it.
      const reply = await client.acquire(queue, { holder: queue, claim_id: `${queue}-${round}`, ttl_ms: 5000 });
      if (reply.status === 503) this.#refused(reply as Reply<Problem>);
      else if (reply.status === 200) {
        const released = await client.release(held(reply));
        if (released.status === 200) this.successes++;
        else if (released.status === 503) this.#refused(released as Reply<Problem>);
        else this.odd.push(`release ${released.status} ${JSON.stringify(released.body)}`);
      } else if (reply.status !== 202) this.odd.push(`acquire ${reply.status} ${JSON.stringify(reply.body)}`);
    }
  }

  #refused(reply: Reply<Problem>): void {
    this.refusals.push(reply);
  }
}

describe.each([
  { how: 'crashed, for 12 s', mode: 'immediate', downMs: 12_000 },
  { how: 'stopped, for a moment', mode: 'fast', downMs: 500 },
] as const)('a database that is $how under load', ({ mode, downMs }) => {
  test('means 503 with a code, and all is well by itself within 5 s of its return', { timeout: 120_000 }, async () => {
    await using server = await stoppableServer();
    await using a = await startReplica({ databaseUrl: server.url });
    await using b = await startReplica({ databaseUrl: server.url });
    const replicas = [a.client, b.client];
    const allHear = async () => {
      const ready = await Promise.all(replicas.map((client) => client.ready()));
      return ready.every(({ status, body }) => status === 200 && body.details?.notifications_work === true);
    };
    await until(allHear, { what: 'both are ready' });
    const before = await a.client.hold('kept', { ttl_ms: 120_000 });
    const poll = b.client.acquire('kept', { holder: 'patient', claim_id: 'patient', wait_ms: 60_000 });
    poll.catch(() => undefined);
    const load = new Load(replicas, 8);
    await until(() => load.successes > 100, { what: 'the load runs' });

    await server.stop(mode);
    const stoppedAt = performance.now();
    for (const client of replicas) {
      await until(async () => (await client.ready()).status === 503, { what: '/readyz is red' });
      const ready = await client.ready();
      expect(ready.status).toBe(503);
      expect(ready.body.code).toMatch(/^database_(unavailable|timeout)$/);
      expect((await client.alive()).status).toBe(200);
    }
    const refusedBefore = load.refusals.length;
    await until(() => load.refusals.length > refusedBefore + 50 && performance.now() - stoppedAt > downMs, {
      what: 'the outage has lasted',
      timeoutMs: 60_000,
    });
    for (const { status, body, headers } of load.refusals) {
      expect(status).toBe(503);
      expect(body.code).toMatch(/^database_(unavailable|timeout)$/);
      expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
      expect(headers.get('content-type')).toContain('application/problem+json');
    }

    await server.start();
    const backAt = performance.now();
    const took: Record<string, number> = {};
    const note = (what: string) => (took[what] = Math.round(performance.now() - backAt));
    await Promise.all([
      ...replicas.map(async (client, number) => {
        const queue = anId('after');
        await until(async () => (await client.acquire(queue)).status < 300, { what: 'an acquire succeeds' });
        note(`acquire on ${number}`);
      }),
      until(allHear, { what: 'notifications work' }).then(() => note('notifications')),
      until(() => leaderHasActed(server.url, 1), { what: 'a leader acts' }).then(() => note('leader acts')),
    ]);
    process.stdout.write(`${mode}: well after ${JSON.stringify(took)} ms\n`);
    for (const ms of Object.values(took)) expect(ms).toBeLessThanOrEqual(5000);

    const successes = load.successes;
    await until(() => load.successes > successes + 100, { what: 'the load runs again' });
    await load.stop();
    expect(load.odd).toEqual([]);
    // The lease taken before is still there, and the client that waited all along gets it.
    expect((await a.client.renew(before)).status).toBe(200);
    expect((await a.client.release(before)).body).toEqual({ released: true });
    expect(held(await poll).fencing_token).toBeGreaterThan(before.fencing_token);
  });
});

/** Whether the leader's every-second chores have been done within the last so many seconds, by whoever leads now. */
async function leaderHasActed(url: string, withinSeconds: number): Promise<boolean> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => undefined);
  await client.connect();
  try {
    const { rowCount } = await client.query(
      `select from signalbox.orchestrator_lock o join signalbox.chores c on c.epoch = o.epoch and c.chore = 'lines'
       where o.leader <> '' and o.expires_at > clock_timestamp() and c.finished_at > pg_postmaster_start_time()
         and c.finished_at > clock_timestamp() - make_interval(secs => $1)`,
      [withinSeconds],
    );
    return rowCount === 1;
  } finally {
    await client.end();
  }
}
