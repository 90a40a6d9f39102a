import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { BackgroundProcess } from '../support/background-process.ts';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { anId, held } from '../support/http-client.ts';
import { type Replica, startReplica } from '../support/replica.ts';
import { StallMeter } from '../support/stalls.ts';
import { TcpBalancer } from '../support/tcp-balancer.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';
import { beatingScript, beatsIn, endsOf, heldSeconds, processesOf, runScript } from '../support/wrapper.ts';

/** Longer than what the machine may stall while two projects start ten of them at once. */
const ttlMs = 4000;
const waveSize = 10;
const waves = Array.from({ length: 10 }, (_, wave) => wave + 1);
/** /proc/uptime counts in 10 ms, and the two clocks are matched by one round trip. */
const clockErrorS = 0.03;

type Fault = 'paused' | 'killed' | 'cut off';
const faults: readonly Fault[] = ['paused', 'killed', 'cut off'];

let database: TestDatabase;
let directory: string;
beforeAll(async () => {
  database = await freshDatabase();
  directory = await mkdtemp(join(tmpdir(), 'signalbox-wrappers-'));
});
afterAll(async () => {
  await database[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

interface Victim {
  readonly fault: Fault;
  readonly queue: string;
  readonly file: string;
  readonly wrapper: BackgroundProcess;
}

describe('100 wrappers whose commands ignore TERM, each paused, killed or cut off from the service', () => {
  let replica: Replica;
  beforeAll(async () => {
    replica = await startReplica({ databaseUrl: database.url, directUrl: database.directUrl });
  });
  afterAll(async () => {
    await replica.kill9();
  });

  async function victim(number: number, proxy: TcpProxy): Promise<Victim> {
    const fault = faults[number % 3] ?? 'paused';
    const queue = anId(`wave-${fault.replace(' ', '-')}`);
    const file = join(directory, queue);
    const url = fault === 'cut off' ? proxy.through(replica.url) : replica.url;
    const wrapper = await runScript(url, queue, beatingScript(file), { flags: ['--ttl', `${ttlMs}ms`] });
    return { fault, queue, file, wrapper };
  }

  async function strike({ fault, wrapper }: Victim, number: number): Promise<void> {
    // Anywhere between two renewals; the cut comes for all of its wave at once.
    await sleep((number * 173) % (ttlMs / 2));
    if (fault === 'paused') wrapper.pause();
    if (fault === 'killed') await wrapper.kill();
  }

  it.each(waves)(
    'wave %i: no command runs past its lease; the slot is with the next claim within 1 s',
    async (wave) => {
      await using proxy = await TcpProxy.to(replica.url);
      await using stalls = new StallMeter(() => replica.client.alive());
      const victims: Victim[] = [];
      await using stack = new AsyncDisposableStack();
      for (let number = 0; number < waveSize; number++) {
        const one = await victim(wave * waveSize + number, proxy);
        stack.use(one.wrapper);
        victims.push(one);
      }
      await Promise.all(
        victims.map(async ({ file }) => until(() => beatsIn(file), { what: 'the command runs', timeoutMs: 20_000 })),
      );
      const successors = victims.map(async ({ queue }) =>
        held(await replica.client.acquire(queue, { wait_ms: 30_000 })),
      );
      await Promise.all([...victims.map(strike), sleep((wave * 97) % (ttlMs / 2)).then(() => proxy.freeze())]);

      const grants = await Promise.all(successors);
      for (const [number, { fault, queue, file, wrapper }] of victims.entries()) {
        const end = await until(async () => (await endsOf(database, queue))[0], { what: 'the lease has ended' });
        const beats = beatsIn(file);
        expect(end, `${fault} ${queue}`).toMatchObject({ state: 'expired', fencing_token: `${beats?.token}` });
        expect(grants[number]?.fencing_token, queue).toBeGreaterThan(beats?.token ?? NaN);
        const { rows } = await database.query<{ gap: number }>(
          `select extract(epoch from l.acquired_at - h.expires_at)::float8 as gap from signalbox.leases l
         join signalbox.history h using (queue) where queue = $1`,
          [queue],
        );
        expect(rows[0]?.gap, `${fault} ${queue}`).toBeLessThanOrEqual(1 + (3 * stalls.worstMs) / 1000);
        // Everything it had started is gone, and nothing was written meanwhile.
        await until(() => processesOf(queue).length === 0, { what: `nothing of ${queue} is left` });
        expect(beatsIn(file)?.last, `${fault} ${queue}`).toBeLessThan(end.expires + clockErrorS);
        if (fault === 'paused') wrapper.resume();
        if (fault !== 'killed') expect((await wrapper.ended).exitCode, `${fault}\n${wrapper.output}`).toBe(121);
      }
    },
    90_000,
  );
});

it('a job of 20 s under a ttl of 2 s keeps its lease while both replicas restart and the leader is killed', async () => {
  const options = { databaseUrl: database.url, directUrl: database.directUrl };
  await using balancer = await TcpBalancer.start();
  await using stack = new AsyncDisposableStack();
  const start = async () => stack.use(await startReplica(options));
  const replicas: [Replica, Replica] = [await start(), await start()];
  balancer.use(...replicas.map(({ url }) => url));
  const queue = anId('job');
  const script = `trap 'echo noticed' TERM INT HUP; echo runs; sleep 20; echo done`;
  await using wrapper = await runScript(balancer.url, queue, script, { flags: ['--ttl', '2s'] });
  await wrapper.line(/^runs$/);

  const restart = async (index: 0 | 1, end: (replica: Replica) => Promise<unknown>) => {
    await end(replicas[index]);
    replicas[index] = await start();
    balancer.use(...replicas.map(({ url }) => url));
  };
  await restart(0, (replica) => replica.terminate());
  await restart(1, (replica) => replica.terminate());
  const leads = async () => {
    const { leader } = (await replicas[0].client.orchestrator()).body;
    const ids = await Promise.all(replicas.map((replica) => replica.id()));
    return ids.includes(leader ?? '') && { index: leader === ids[0] ? (0 as const) : (1 as const) };
  };
  const { index } = await until(leads, { what: 'one of them leads', timeoutMs: 15_000 });
  await restart(index, (replica) => replica.kill9());

  expect((await wrapper.ended).exitCode, wrapper.output).toBe(0);
  expect(wrapper.output).toContain('done\n');
  expect(wrapper.output).not.toContain('noticed');
  const ends = await endsOf(database, queue);
  expect(ends).toMatchObject([{ state: 'released', outcome: 'success' }]);
  expect(heldSeconds(ends[0])).toBeGreaterThan(20);
}, 90_000);
