import { describe, expect, test } from 'vitest';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { startReplica } from '../support/replica.ts';
import { StallMeter } from '../support/stalls.ts';
import { until } from '../support/until.ts';

interface Leader extends Record<string, unknown> {
  leader: string;
  epoch: number;
}

/** The timer, the look, the campaign, the start of the term and its first chore: each may wait for a busy machine. */
const stepsOfTakeover = 5;

/** Who leads now, once a chore of that term has been done: leading is acting. */
function actingLeader(database: TestDatabase, afterEpoch = 0): Promise<Leader & { acted_at: number }> {
  return until(
    async () => {
      const { rows } = await database.query<Leader & { acted_at: number }>(
        `select o.leader, o.epoch::int as epoch,
           (select extract(epoch from min(c.finished_at))::float8 * 1000 from signalbox.chores c
            where c.epoch = o.epoch) as acted_at
         from signalbox.orchestrator_lock o
         where o.leader <> '' and o.epoch > $1 and exists (select from signalbox.chores c where c.epoch = o.epoch)`,
        [afterEpoch],
      );
      return rows[0];
    },
    { what: `a leader after epoch ${afterEpoch} acts`, timeoutMs: 30_000 },
  );
}

async function databaseMs(database: TestDatabase): Promise<number> {
  const { rows } = await database.query<{ now: number }>(
    'select extract(epoch from clock_timestamp())::float8 * 1000 as now',
  );
  return rows[0]?.now ?? NaN;
}

async function twoReplicas(database: TestDatabase, leaseSeconds?: number) {
  const env = leaseSeconds === undefined ? {} : { LEADER_LEASE_SECONDS: `${leaseSeconds}` };
  const options = { databaseUrl: database.url, directUrl: database.directUrl, env };
  const [one, other] = await Promise.all([startReplica(options), startReplica(options)]);
  const first = await actingLeader(database);
  const [leader, follower] = (await one.id()) === first.leader ? [one, other] : [other, one];
  return {
    first,
    leader,
    follower,
    [Symbol.asyncDispose]: async () => {
      await Promise.all([one, other].map((replica) => replica.kill9()));
    },
  };
}

describe('after the leader is gone', () => {
  test.each([
    { name: 'the default lease', leaseSeconds: undefined, leaseMs: 10_000 },
    { name: 'a lease of 3 s', leaseSeconds: 3, leaseMs: 3000 },
  ])(
    'by kill -9, the next one acts within lease + 1 s: $name',
    { timeout: 60_000 },
    async ({ leaseSeconds, leaseMs }) => {
      await using database = await freshDatabase();
      await using pair = await twoReplicas(database, leaseSeconds);
      await using stalls = new StallMeter(() => databaseMs(database));
      const killedAt = await databaseMs(database);
      await pair.leader.kill9();
      const next = await actingLeader(database, pair.first.epoch);

      expect(next.acted_at - killedAt).toBeLessThanOrEqual(leaseMs + 1000 + stepsOfTakeover * stalls.worstMs);
      expect(next.leader).toBe(await pair.follower.id());
      expect(next.epoch).toBe(pair.first.epoch + 1);
      const { body } = await pair.follower.client.orchestrator();
      expect(body).toMatchObject({ leader: next.leader, epoch: next.epoch, replica_id: next.leader });
      expect(body.terms.slice(0, 2)).toMatchObject([
        { epoch: next.epoch, leader: next.leader, ended_at: null },
        { epoch: pair.first.epoch, leader: pair.first.leader, end_reason: 'taken_over' },
      ]);
    },
  );

  test('by SIGTERM, the next one leads within 1 s, also while the old one still serves a slow client', async () => {
    await using database = await freshDatabase();
    await using pair = await twoReplicas(database);
    // A request whose body never comes keeps the old leader's door open until the request's own deadline.
    const slow = new AbortController();
    const body = new ReadableStream({ start: (stream) => stream.enqueue(new TextEncoder().encode('{"hold')) });
    const request = { method: 'POST', headers: { 'content-type': 'application/json' }, signal: slow.signal };
    const stuck = fetch(`${pair.leader.url}/v1/queues/slow/acquire`, {
      ...request,
      body,
      duplex: 'half',
    });
    stuck.catch(() => undefined);
    await until(async () => (await pair.leader.client.alive()).status === 200, { what: 'it answers' });

    await using stalls = new StallMeter(() => databaseMs(database));
    const toldAt = await databaseMs(database);
    const ended = pair.leader.terminate();
    const next = await actingLeader(database, pair.first.epoch);
    slow.abort();

    const { rows } = await database.query<{ started: number }>(
      'select extract(epoch from started_at)::float8 * 1000 as started from signalbox.terms where epoch = $1',
      [next.epoch],
    );
    expect((rows[0]?.started ?? Infinity) - toldAt).toBeLessThanOrEqual(1000 + stepsOfTakeover * stalls.worstMs);
    expect(await ended).toBe(0);
    const { body: view } = await pair.follower.client.orchestrator();
    expect(view.terms[1]).toMatchObject({ epoch: pair.first.epoch, end_reason: 'resigned' });
  });
});

test(
  'a leader that was stopped past its lease changes nothing as leader when it goes on',
  { timeout: 60_000 },
  async () => {
    await using database = await freshDatabase();
    await using pair = await twoReplicas(database, 3);
    pair.leader.pause();
    const next = await actingLeader(database, pair.first.epoch);
    // Work that only a leader does, waiting for whoever thinks it leads.
    await pair.follower.client.hold('left', { ttl_ms: 1000 });
    pair.leader.resume();

    await pair.leader.process.line(/term\.write_refused|term\.ended|deposed|trust/, { timeoutMs: 15_000 });
    await until(async () => (await database.query(`select from signalbox.history where queue = 'left'`)).rowCount, {
      what: 'the new leader ended the lease',
      timeoutMs: 15_000,
    });
    const { rows: chores } = await database.query(
      'select chore from signalbox.chores where epoch < $1 and finished_at > (select started_at from signalbox.terms where epoch = $1)',
      [next.epoch],
    );
    expect(chores).toEqual([]);
    const { rows: terms } = await database.query<{ type: string; epoch: number }>(
      `select type, (data ->> 'epoch')::int as epoch from signalbox.events where type like 'term.%' order by id`,
    );
    // The old term is mentioned once, when it began; taking it over is its end, and it never comes back.
    expect(terms.filter(({ epoch }) => epoch === pair.first.epoch)).toEqual([
      { type: 'term.started', epoch: pair.first.epoch },
    ]);
    expect((await pair.leader.client.orchestrator()).body).toMatchObject({ leader: next.leader, epoch: next.epoch });
  },
);
