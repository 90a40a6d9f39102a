import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { campaign, lead, type Leadership, type Observation, observe, SignalboxClient } from '../../src/client/index.ts';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { anId } from '../support/http-client.ts';
import { type Replica, startReplica } from '../support/replica.ts';
import { until } from '../support/until.ts';
import { StallMeter } from '../support/stalls.ts';

let database: TestDatabase;
let replicas: readonly Replica[];
let clients: readonly SignalboxClient[];

beforeAll(async () => {
  database = await freshDatabase();
  const options = { databaseUrl: database.url, directUrl: database.directUrl };
  replicas = await Promise.all([startReplica(options), startReplica(options), startReplica(options)]);
  clients = replicas.map(({ url }) => new SignalboxClient({ url }));
});

afterAll(async () => {
  await Promise.all(replicas.map((replica) => replica[Symbol.asyncDispose]()));
  await database[Symbol.asyncDispose]();
});

function clientOf(number: number): SignalboxClient {
  const client = clients[number % clients.length];
  if (client === undefined) throw new Error('there are no replicas');
  return client;
}

/** All who ever led, and whether two of them believed it at once, looked at with each new leader and every 5 ms. */
class Witness implements Disposable {
  readonly leaders: Leadership[] = [];
  twoAtOnce: number[] = [];
  readonly #timer = setInterval(() => this.#look(), 5);

  add(leader: Leadership): void {
    this.leaders.push(leader);
    this.#look();
  }

  get terms(): number[] {
    return this.leaders.map(({ term }) => term);
  }

  #look(): void {
    const believers = this.leaders.slice(-5).filter(({ leads }) => leads);
    if (believers.length > 1) this.twoAtOnce = believers.map(({ term }) => term);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}

/** What observers of every replica have told so far. */
function observers(election: string, signal: AbortSignal): Observation[][] {
  return clients.map((client) => {
    const told: Observation[] = [];
    void (async () => {
      const stream = observe(client, { election, pollMs: 150, staleMs: 1500, signal });
      for await (const seen of stream) told.push(seen);
    })();
    return told;
  });
}

function termsOf(told: readonly Observation[]): number[] {
  return told.flatMap((seen) => (seen.kind === 'led' ? [seen.leader.term] : []));
}

const aborted = (signal: AbortSignal) =>
  new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve());
  });

it('never two leaders, terms only grow, and observers of three replicas tell the same ones, however they end', async () => {
  const election = anId('shared');
  using witness = new Witness();
  const end = new AbortController();
  const told = observers(election, end.signal);
  const candidates = [0, 1, 2, 3, 4].map((number) => {
    const options = { election, ttlMs: 2000, priority: number % 2, signal: end.signal };
    return lead(clientOf(number), options, async (leader) => {
      witness.add(leader);
      await Promise.race([aborted(leader.signal), sleep(700)]);
      const ways = [
        () => leader.resign(),
        () => clientOf(number + 1).cancel(election, leader.claimId),
        // As if nothing of it reached the service any more: it runs out.
        () => leader.keeper.stop(),
      ];
      if (!leader.signal.aborted) await ways[witness.leaders.length % 3]?.();
      await aborted(leader.signal);
    }).catch((error: unknown) => error);
  });
  await until(() => witness.leaders.length >= 7, { what: 'seven have led', timeoutMs: 25_000 });
  end.abort();
  await Promise.all(candidates);

  expect(witness.twoAtOnce).toEqual([]);
  expect(witness.terms).toEqual(witness.terms.toSorted((a, b) => a - b));
  expect(new Set(witness.terms).size).toBe(witness.terms.length);
  const known = Math.min(...told.map((one) => termsOf(one).length));
  expect(known).toBeGreaterThanOrEqual(5);
  for (const one of told) expect(termsOf(one).slice(0, known)).toEqual(witness.terms.slice(0, known));
});

it('a leader whose service is silent steps down by its own clock; observers say that they do not know', async () => {
  const election = anId('silent');
  using witness = new Witness();
  const end = new AbortController();
  const leader = await campaign(clientOf(0), { election, ttlMs: 3000 });
  witness.add(leader);
  const told = observers(election, end.signal);
  await until(() => told.every((one) => one.length === 1), { what: 'all know it' });
  for (const replica of replicas) replica.pause();
  await using stalls = new StallMeter(() => Promise.resolve());
  const silentAtMs = performance.now();
  let resigned: Promise<void> | undefined;
  try {
    await aborted(leader.signal);
    expect(performance.now() - silentAtMs).toBeLessThan(2000 + 250 + stalls.worstMs);
    expect(leader.leads).toBe(false);
    expect(leader.keeper.window.endsAtMs).toBeGreaterThan(performance.now());
    await until(() => told.every((one) => one.at(-1)?.kind === 'unknown'), { what: 'none of them knows' });
    // Renewals that were under way would keep the place of one who does not lead any longer.
    resigned = leader.resign();
    // Beyond the end of the lease: the next one leads with the first answer.
    await sleep(Math.max(0, leader.keeper.window.endsAtMs - performance.now()));
  } finally {
    for (const replica of replicas) replica.resume();
  }
  const next = await campaign(clientOf(1), { election });
  witness.add(next);
  expect(next.term).toBeGreaterThan(leader.term);
  await until(() => told.every((one) => termsOf(one).at(-1) === next.term), { what: 'all know the next' });
  expect(witness.twoAtOnce).toEqual([]);
  for (const one of told) expect(one.some(({ kind }) => kind === 'unknown')).toBe(true);
  end.abort();
  await resigned;
  await next.resign();
});
