import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type VirtualClock, stopClock } from '../merge-queue/support/virtual-clock.ts';
import { WireBuilds, saidOf, stackOf } from '../merge-queue/support/wire.ts';
import { type TestDatabase, freshDatabase } from '../support/database.ts';
import { type TestApp, startTestApp, withoutLeader } from '../support/test-app.ts';

/** Sections 9 and 10 of the specification of mq-lease-service over HTTP, through two replicas in turn. */

let database: TestDatabase;
let clock: VirtualClock;
let replicas: readonly TestApp[];
let builds: WireBuilds;
let queues = 0;
let baseRef: string;

beforeAll(async () => {
  database = await freshDatabase();
  await withoutLeader(database);
  clock = await stopClock(database);
  replicas = await Promise.all([startTestApp(database), startTestApp(database)]);
});
afterAll(async () => {
  for (const replica of replicas) await replica[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});
beforeEach(() => {
  baseRef = `branch${queues++}`;
  builds = new WireBuilds(
    replicas.map(({ url }) => url),
    baseRef,
  );
});

const windowMs = 30_000;

async function heldBy(n: number): Promise<void> {
  for (let build = 1; build <= n; build++) expect((await builds.acquire(build)).status).toBe(200);
  if (n >= 4) return;
  await clock.pass(windowMs);
  expect(await builds.polls(n)).toEqual(['acquired']);
}

/** Who is known and who has it, and the stack of each, as show has them. */
async function shown() {
  const { acquired, known } = await builds.show();
  const brief = ({ request, stacked_pull_requests: stack }: (typeof known)[number]) =>
    `${request?.head_sha} ${request?.status}${stack === undefined ? '' : ` ${stack.map(({ number }) => number).join(',')}`}`;
  return { acquired: acquired === null ? null : brief(acquired), known: known.map(brief) };
}

const empty = { acquired: null, known: [] };

describe('of section 9', () => {
  it('E1: list', async () => {
    const made = await replicas[0]?.client.ask('PUT', `/v1/merge-queues/owner/repo/${baseRef}`, {});
    expect(made?.status).toBe(200);
    expect((await builds.list())[`owner:repo:${baseRef}`]).toMatchObject({
      acquired: null,
      known: [],
      config: { stabilize_duration: 30, ttl: 200, expected_request_count: 4, delay_assignment_count: 0 },
    });
  });

  it('E2, E5: list and show of a held one', async () => {
    await heldBy(4);
    const full = {
      acquired: 'sha4 acquired 1,2,3,4',
      known: ['sha1 pending', 'sha2 pending', 'sha3 pending', 'sha4 acquired 1,2,3,4'],
    };
    expect([await shown(), await shown()]).toEqual([full, full]);
    expect((await builds.list())[`owner:repo:${baseRef}`]).toEqual(await builds.show());
  });

  it('E4: show of an unused one', async () => {
    expect(await shown()).toEqual(empty);
  });

  it('E7, E8, E9: clear', async () => {
    await heldBy(2);
    await clock.pass(1000);
    const cleared = await builds.ask('DELETE', builds.path);
    const now = new Date(clock.nowMs).getTime();
    for (const provider of [cleared.body as unknown as Awaited<ReturnType<typeof builds.show>>, await builds.show()]) {
      expect(provider).toMatchObject(empty);
      expect(new Date(provider.last_updated_at).getTime()).toBe(now);
    }
    await using restarted = await startTestApp(database);
    expect(await new WireBuilds([restarted.url], baseRef).show()).toMatchObject(empty);
  });

  it('E11, E12: the count', async () => {
    expect(await builds.polls(1, 2, 3)).toEqual(['pending', 'pending', 'pending']);
    const fourth = await builds.acquire(4);
    expect([saidOf(fourth), stackOf(fourth)]).toEqual(['acquired', [1, 2, 3, 4]]);
  });

  it('E13: the window', async () => {
    await builds.acquire(1);
    await clock.pass(windowMs + 1000);
    const answer = await builds.acquire(1);
    expect([saidOf(answer), stackOf(answer)]).toEqual(['acquired', [1]]);
  });

  it('E14, E16: newcomers and losers of a held one', async () => {
    await heldBy(2);
    expect(await builds.polls(3, 1, 3, 1)).toEqual([409, 'pending', 409, 'pending']);
  });

  it('E15: a loser after the success', async () => {
    await heldBy(2);
    await builds.release(2, 'success');
    expect(await builds.polls(1)).toEqual(['completed']);
  });

  it('E18, E19: a release of what one does not hold', async () => {
    expect((await builds.release(1, 'success')).status).toBe(400);
    await heldBy(2);
    expect((await builds.release(1, 'success')).status).toBe(400);
  });

  it.each([
    ['E20', 'success', 'completed'],
    ['E21', 'failure', 'failure'],
  ])('%s: the holder releases with %s', async (_row, status, said) => {
    await heldBy(2);
    const answer = await builds.release(2, status);
    expect([answer.status, saidOf(answer), stackOf(answer)]).toEqual([200, said, null]);
  });

  it('E22: two builds, success', async () => {
    await builds.polls(1, 2);
    await clock.pass(windowMs);
    expect(await builds.polls(1)).toEqual(['pending']);
    expect(stackOf(await builds.acquire(2))).toEqual([1, 2]);
    expect(saidOf(await builds.release(2, 'success'))).toBe('completed');
    expect(await builds.polls(1)).toEqual(['completed']);
  });

  it('E23: two builds, failure', async () => {
    await builds.polls(1, 2);
    await clock.pass(windowMs);
    expect(await builds.polls(1, 2)).toEqual(['pending', 'acquired']);
    expect(saidOf(await builds.release(2, 'failure'))).toBe('failure');
    expect(stackOf(await builds.acquire(1))).toEqual([1]);
  });

  it('E24: the count, success', async () => {
    expect(await builds.polls(1, 2, 3, 4)).toEqual(['pending', 'pending', 'pending', 'acquired']);
    expect(saidOf(await builds.release(4, 'success'))).toBe('completed');
    expect(await builds.polls(1, 2, 3)).toEqual(['completed', 'completed', 'completed']);
  });

  it('E25: the count, failure', async () => {
    expect(await builds.polls(1, 2, 3, 4)).toEqual(['pending', 'pending', 'pending', 'acquired']);
    expect(saidOf(await builds.release(4, 'failure'))).toBe('failure');
    expect(await builds.polls(1, 2, 3)).toEqual(['pending', 'pending', 'acquired']);
  });
});

describe('where nobody may make one on first use', () => {
  it('E3, E6, E10, E17 and rule 8: an unknown one is 404 before the body is looked at', async () => {
    await using strict = await startTestApp(database, { MERGE_QUEUE_AUTO_CREATE: 'false' });
    const unknown = new WireBuilds([strict.url], baseRef);
    const answers = [
      await unknown.ask('GET', unknown.path),
      await unknown.ask('DELETE', unknown.path),
      await unknown.acquire(1),
      await unknown.release(1, 'success'),
      await unknown.acquire(1, { head_sha: '', priority: 0 }),
      await unknown.ask('POST', `${unknown.path}/acquire`, 'no object'),
    ];
    for (const { status, body } of answers) expect([status, body]).toEqual([404, { error: 'unknown provider' }]);
  });
});

describe('of section 10', () => {
  it('3: after a failure the heirs go in order, without window or count', async () => {
    await heldBy(3);
    await builds.release(3, 'failure');
    expect(await builds.polls(9, 1, 2, 9)).toEqual([409, 'pending', 'acquired', 409]);
    await builds.release(2, 'success');
    expect(await builds.polls(9, 1, 9)).toEqual([409, 'completed', 'pending']);
  });

  it('4, 6: newcomers after a success, and an evicted loser, which is one', async () => {
    await heldBy(3);
    await clock.pass(200_000 - windowMs);
    await builds.polls(2);
    await clock.pass(windowMs + 1);
    expect(await builds.polls(2, 1)).toEqual(['pending', 409]);
    await builds.release(3, 'success');
    expect(await builds.polls(1, 2, 1)).toEqual([409, 'completed', 'pending']);
  });

  it('8: a misused release is 400, a misused acquire 409, what is no JSON 422, and priority 0 is missing', async () => {
    await heldBy(2);
    expect((await builds.release(1, 'success')).status).toBe(400);
    expect((await builds.acquire(2)).status).toBe(409);
    expect((await builds.ask('POST', `${builds.path}/acquire`, undefined)).status).toBe(422);
    const missing = await builds.acquire(1, { priority: 0 });
    expect([missing.status, missing.body.error_context]).toEqual([
      400,
      [{ failed_field: 'acquireRequest.Priority', tag: 'required', value: '' }],
    ]);
  });

  it('10: acquired in show may be a failed or a completed one', async () => {
    await heldBy(2);
    await builds.release(2, 'failure');
    expect(await shown()).toEqual({ acquired: 'sha2 failure', known: ['sha1 pending'] });
    await builds.polls(1);
    await builds.release(1, 'success');
    expect(await shown()).toEqual({ acquired: 'sha1 completed', known: ['sha1 completed'] });
    // 11: it does not block.
    expect(await builds.polls(7)).toEqual(['pending']);
  });
});

it('W2, W10 over HTTP: the holder has its lease again by its request id, and its release again by its token', async () => {
  await builds.acquire(1, { request_id: 'run 7' });
  await clock.pass(windowMs);
  const first = await builds.acquire(1, { request_id: 'run 7' });
  const again = await builds.acquire(1, { request_id: 'run 7' });
  expect([saidOf(first), again.body.fencing_token]).toEqual(['acquired', first.body.fencing_token]);
  expect((await builds.acquire(1, { request_id: 'run 8' })).status).toBe(409);
  const token = { fencing_token: first.body.fencing_token };
  const release = async () => saidOf(await builds.release(1, 'failure', token));
  expect([await release(), await release(), await release()]).toEqual(['failure', 'failure', 'failure']);
  expect((await builds.renew(1, first.body.fencing_token ?? 0)).status).toBe(410);
});
