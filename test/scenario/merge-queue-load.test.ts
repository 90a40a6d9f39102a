import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { playFeed } from '../merge-queue/support/feed-rules.ts';
import { WireBuilds, saidOf } from '../merge-queue/support/wire.ts';
import { freshDatabase } from '../support/database.ts';
import { startReplica } from '../support/replica.ts';

const loadMs = 30_000;

/** W6: eight who write and eight who read at once ended the original's process within two seconds. */
test('W6: 8 writers and 8 readers for 30 s: the service stays up, answers all, and there is one holder at any time', async () => {
  await using database = await freshDatabase();
  await using replica = await startReplica({
    databaseUrl: database.url,
    directUrl: database.directUrl,
    env: {
      MERGE_QUEUE_EXPECTED_COUNT: '3',
      MERGE_QUEUE_STABILISATION_MS: '20',
      MERGE_QUEUE_TTL_MS: '2000',
      LOG_LEVEL: 'warn',
    },
  });
  const endsAt = performance.now() + loadMs;
  const isOver = () => performance.now() >= endsAt;
  const codes = new Map<number, number>();
  const tokens: number[] = [];
  const holders = new Set<number>();
  let nextBuild = 1;

  const count = <Reply extends { readonly status: number }>(reply: Reply): Reply => {
    codes.set(reply.status, (codes.get(reply.status) ?? 0) + 1);
    return reply;
  };

  /** One build after another: each polls until it has the lease or is over, and then says how it went. */
  async function write(writer: number): Promise<void> {
    const builds = new WireBuilds([replica.url], 'main');
    while (!isOver()) {
      const build = nextBuild++;
      const more = { priority: (build % 7) + 1, request_id: `writer ${writer} build ${build}` };
      let said: string | number = 'pending';
      while ((said === 'pending' || said === 409) && !isOver()) {
        const answer = count(await builds.acquire(build, more));
        said = saidOf(answer);
        if (said !== 'acquired') {
          // As quick as the original's clients were, without being the only thing this machine does.
          await sleep(5);
          continue;
        }
        holders.add(build);
        expect([...holders]).toEqual([build]);
        tokens.push(answer.body.fencing_token ?? 0);
        await sleep(build % 3);
        holders.delete(build);
        const status = build % 3 === 0 ? 'failure' : 'success';
        const token = { fencing_token: answer.body.fencing_token };
        expect(saidOf(count(await builds.release(build, status, { ...more, ...token })))).toBe(
          status === 'success' ? 'completed' : 'failure',
        );
      }
    }
  }

  async function read(reader: number): Promise<void> {
    const builds = new WireBuilds([replica.url], 'main');
    while (!isOver()) {
      count(await builds.ask('GET', reader % 2 === 0 ? builds.path : '/merge-queue'));
      await sleep(2);
    }
  }

  let looks = 0;
  async function monitor(): Promise<void> {
    while (!isOver()) {
      const { rows } = await database.query<{ grants: number }>(
        `select count(*)::int as grants from signalbox.merge_requests where status not in ('pending', 'remembered')`,
      );
      expect(rows[0]?.grants).toBeLessThanOrEqual(1);
      looks++;
      await sleep(5);
    }
  }

  const numbers = Array.from({ length: 8 }, (_, index) => index);
  await Promise.all([monitor(), ...numbers.map(write), ...numbers.map(read)]);

  const requests = [...codes.values()].reduce((sum, one) => sum + one, 0);
  process.stdout.write(
    `W6: ${requests} requests (${[...codes].map(([code, n]) => `${code}: ${n}`).join(', ')}), ${tokens.length} leases\n`,
  );
  expect([...codes.keys()].filter((code) => code !== 200 && code !== 409)).toEqual([]);
  expect(tokens.length).toBeGreaterThan(20);
  expect(tokens).toEqual(tokens.toSorted((a, b) => a - b));
  expect(new Set(tokens).size).toBe(tokens.length);
  expect(looks).toBeGreaterThan(100);
  expect((await replica.client.alive()).status).toBe(200);
  const { rows: overlaps } = await database.query(
    `select from (select acquired_at, lag(ended_at) over (order by fencing_token) as before
       from signalbox.history where fencing_token is not null) grants
     where before > acquired_at`,
  );
  expect(overlaps).toEqual([]);
  await playFeed(database, 'merge-queue/owner/repo/main', { onlyContained: false });
}, 90_000);
