import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  acquireLease,
  campaign,
  LeaseLostError,
  ReleaseRequestedError,
  NotAcquiredError,
  SignalboxClient,
  withLease,
} from '../../src/client/index.ts';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { anId } from '../support/http-client.ts';
import { startTestApp, type TestApp, untilWaiting } from '../support/test-app.ts';
import { endsOf } from '../support/wrapper.ts';

let database: TestDatabase;
let app: TestApp;
let client: SignalboxClient;

beforeAll(async () => {
  database = await freshDatabase();
  app = await startTestApp(database);
  client = new SignalboxClient({ url: app.url });
});

afterAll(async () => {
  await app[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

describe('acquireLease', () => {
  it('stands in line until the claim is held, and tells position and reason', async () => {
    const queue = anId('line');
    const lease = await app.client.hold(queue, { ttl_ms: 60_000 });
    const seen: unknown[] = [];
    const waiting = acquireLease(client, {
      queue,
      pollMs: 100,
      onWaiting: (position, waitingFor) => seen.push([position, waitingFor]),
    });
    await untilWaiting(app.client, queue, 1);
    await app.client.release(lease);
    const outcome = await waiting;
    if (outcome.kind !== 'held') throw new Error(outcome.kind);
    expect(outcome.lease.fencing_token).toBeGreaterThan(lease.fencing_token);
    expect(outcome.window.endsAtMs - performance.now()).toBeGreaterThan(29_000);
    expect(outcome.window.endsAtMs - performance.now()).toBeLessThanOrEqual(30_000);
    expect(seen[0]).toEqual([1, 'no_free_slot']);
  });

  it('takes its claim back when it is aborted, and throws the reason', async () => {
    const queue = anId('aborted');
    await app.client.hold(queue, { ttl_ms: 60_000 });
    const abort = new AbortController();
    const waiting = acquireLease(client, { queue, signal: abort.signal });
    const reason = new Error('enough');
    const ended = expect(waiting).rejects.toBe(reason);
    await untilWaiting(app.client, queue, 1);
    abort.abort(reason);
    await ended;
    await untilWaiting(app.client, queue, 0);
  });

  it('says busy, wait_timeout and ended, and leaves no claim in line', async () => {
    const queue = anId('outcomes');
    await app.client.hold(queue, { ttl_ms: 60_000 });
    const busy = await acquireLease(client, { queue, mode: 'skip_if_busy' });
    expect(busy).toMatchObject({ kind: 'busy', error: { code: 'queue_busy' } });
    expect(await acquireLease(client, { queue, waitTimeoutMs: 200 })).toEqual({ kind: 'wait_timeout' });
    const broken = acquireLease(client, { queue, claimId: 'mine' });
    await untilWaiting(app.client, queue, 1);
    await client.break(queue, 'mine', { reason: 'test', actor: 'me' });
    expect(await broken).toMatchObject({ kind: 'ended', state: 'broken' });
    await untilWaiting(app.client, queue, 0);
  });
});

describe('withLease', () => {
  it('renews while the work lasts, and releases with its outcome', async () => {
    const queue = anId('work');
    const token = await withLease(client, { queue, ttlMs: 2000 }, async ({ fencingToken, keeper }) => {
      for (let count = 0; count < 4; count++) await new Promise((resolve) => keeper.on('renewed', resolve));
      expect(await client.checkToken(queue, fencingToken)).toMatchObject({ current: true });
      return fencingToken;
    });
    expect(await client.checkToken(queue, token)).toMatchObject({ current: false });
    const failure = new Error('no');
    await expect(withLease(client, queue, () => Promise.reject(failure))).rejects.toBe(failure);
    expect((await endsOf(database, queue)).map(({ outcome }) => outcome)).toEqual(['success', 'failure']);
  });

  it('aborts the signal of the work when the lease is lost, and throws LeaseLostError even if the work goes on', async () => {
    const queue = anId('lost');
    const work = withLease(client, { queue, ttlMs: 1000, claimId: 'mine' }, async ({ signal }) => {
      await client.break(queue, 'mine', { reason: 'test', actor: 'me' });
      if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve));
      return 'as if nothing had happened';
    });
    const error = await work.catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(LeaseLostError);
    expect(error).toMatchObject({ reason: 'broken' });
  });

  it('aborts the signal of the work when the release is asked for: the lease is not lost by that', async () => {
    const queue = anId('asked');
    const work = withLease(client, { queue, ttlMs: 1000, claimId: 'mine' }, async ({ signal, keeper }) => {
      await client.cancel(queue, 'mine');
      if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve));
      expect(signal.reason).toBeInstanceOf(ReleaseRequestedError);
      expect(keeper.lostReason).toBeUndefined();
      return 'in order';
    });
    expect(await work).toBe('in order');
  });

  it('throws NotAcquiredError for a place that is not to be had', async () => {
    const queue = anId('taken');
    await app.client.hold(queue, { ttl_ms: 60_000 });
    const refused = withLease(client, { queue, mode: 'skip_if_busy' }, () => 'never');
    await expect(refused).rejects.toBeInstanceOf(NotAcquiredError);
  });
});

describe('campaign', () => {
  it('has one leader at a time, and terms that grow', async () => {
    const queue = anId('leader');
    let second: ReturnType<typeof campaign>;
    let term: number;
    {
      await using first = await campaign(client, { queue });
      term = first.term;
      second = campaign(client, { queue });
      await untilWaiting(app.client, queue, 1);
      expect((await client.getQueue(queue)).holders).toMatchObject([{ fencing_token: term }]);
    }
    const leader = await second;
    expect(leader.term).toBeGreaterThan(term);
    await leader.resign();
    expect((await client.getQueue(queue)).held).toBe(0);
  });
});
