import { describe, expect, it } from 'vitest';
import {
  campaign,
  type EndedTerm,
  lead,
  type Leadership,
  LeaseLostError,
  NotAnElectionError,
  ReleaseRequestedError,
  ResignedError,
  SignalboxClient,
} from '../../src/client/index.ts';
import { anId } from '../support/http-client.ts';
import { oneReplica } from '../support/one-replica.ts';
import { StallMeter } from '../support/stalls.ts';
import { type TestApp, untilWaiting } from '../support/test-app.ts';
import { until } from '../support/until.ts';

let app: TestApp;
let client: SignalboxClient;
oneReplica(({ replica }) => {
  app = replica;
  client = new SignalboxClient({ url: replica.url });
});

const aborted = (signal: AbortSignal) =>
  new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve());
  });

describe('campaign', () => {
  it('gives a term; resigning ends the belief first, and the next in line has it at once', async () => {
    const election = anId('resigns');
    const first = await campaign(client, { election, ttlMs: 20_000 });
    expect(first).toMatchObject({ election, leads: true, term: first.fencingToken });
    expect(first.leadsUntilMs - performance.now()).toBeGreaterThan(12_000);
    expect(first.leadsUntilMs - performance.now()).toBeLessThan(20_000 * (2 / 3));
    const second = campaign(client, { election });
    await untilWaiting(app.client, election, 1);
    await using stalls = new StallMeter(() => client.getQueue(election));
    const resignedAtMs = performance.now();
    const resigning = first.resign();
    expect(first.leads).toBe(false);
    expect(first.signal.reason).toBeInstanceOf(ResignedError);
    await using leader = await second;
    expect(performance.now() - resignedAtMs).toBeLessThan(500 + 5 * stalls.worstMs);
    expect(leader.term).toBeGreaterThan(first.term);
    await resigning;
    expect(leader.leads).toBe(true);
  });

  it('resigning with nobody in line leaves the election without a leader', async () => {
    const election = anId('alone');
    const leader = await campaign(client, { election });
    await leader.resign();
    expect(await client.getQueue(election)).toMatchObject({ held: 0, waiting: 0 });
    await using again = await campaign(client, { election });
    expect(again.term).toBeGreaterThan(leader.term);
  });

  it('a candidate of higher priority asks the leader to hand over, and leads within a second', async () => {
    const election = anId('preferred');
    const leader = await campaign(client, { election, ttlMs: 30_000 });
    await using stalls = new StallMeter(() => client.getQueue(election));
    const startedAtMs = performance.now();
    const preferred = campaign(client, { election, priority: 5 });
    await aborted(leader.signal);
    expect(leader.signal.reason).toBeInstanceOf(ReleaseRequestedError);
    expect(leader.leads).toBe(false);
    // Asked, not ousted: the lease is its own until it resigns.
    expect(await client.checkToken(election, leader.term)).toMatchObject({ current: true });
    await leader.resign();
    await using next = await preferred;
    expect(performance.now() - startedAtMs).toBeLessThan(1000 + 5 * stalls.worstMs);
    expect(next.leads).toBe(true);
  });

  it('nobody is asked by a candidate of the same priority, or by one that does not want to take over', async () => {
    const election = anId('patient');
    await using leader = await campaign(client, { election, priority: 1, lookEveryMs: 100 });
    const abort = new AbortController();
    const options = { election, pollMs: 200, signal: abort.signal };
    const candidates = [
      campaign(client, { ...options, priority: 9, takesOver: false }),
      campaign(client, { ...options, priority: 1 }),
      campaign(client, options),
    ].map(async (candidate) => candidate.catch((error: unknown) => error));
    await untilWaiting(app.client, election, 3);
    await new Promise((resolve) => setTimeout(resolve, 700));
    expect((await client.getQueue(election)).holders).toMatchObject([{ release_requested: false }]);
    expect(leader.leads).toBe(true);
    abort.abort();
    await Promise.all(candidates);
  });

  it('an operator’s cancel and break reach the leader within a second, whatever its ttl', async () => {
    const election = anId('operator');
    const asked = await campaign(client, { election, ttlMs: 60_000 });
    const askedAtMs = performance.now();
    await client.cancel(election, asked.claimId);
    await aborted(asked.signal);
    expect(asked.signal.reason).toBeInstanceOf(ReleaseRequestedError);
    await asked.resign();
    await using broken = await campaign(client, { election, ttlMs: 60_000 });
    await client.break(election, broken.claimId, { reason: 'test', actor: 'me' });
    await aborted(broken.signal);
    expect(broken.signal.reason).toBeInstanceOf(LeaseLostError);
    expect(broken.signal.reason).toMatchObject({ reason: 'broken' });
    expect(performance.now() - askedAtMs).toBeLessThan(2000);
  });

  it('only who holds the first place leads, whatever the limit of the queue', async () => {
    const election = anId('two-places');
    await client.configureQueue(election, { concurrency_limit: 2 });
    await using leader = await campaign(client, { election });
    await expect(campaign(client, { election })).rejects.toBeInstanceOf(NotAnElectionError);
    expect((await client.getQueue(election)).held).toBe(1);
    expect(leader.leads).toBe(true);
  });
});

describe('lead', () => {
  it('gives what the work gives while it leads, and throws what it throws; the place is free after both', async () => {
    const election = anId('once');
    expect(await lead(client, { election }, ({ term }) => term)).toBeGreaterThan(0);
    const failure = new Error('no');
    await expect(lead(client, { election }, () => Promise.reject(failure))).rejects.toBe(failure);
    expect((await client.getQueue(election)).held).toBe(0);
  });

  it('stands again after a term that was lost, in a higher term', async () => {
    const election = anId('again');
    const ended: EndedTerm[] = [];
    const terms: number[] = [];
    const result = await lead(client, { election, onTermEnded: (term) => ended.push(term) }, async (leader) => {
      terms.push(leader.term);
      if (terms.length === 2) return 'done';
      await client.break(election, leader.claimId, { reason: 'test', actor: 'me' });
      await aborted(leader.signal);
      throw new Error('stopped');
    });
    expect(result).toBe('done');
    expect(terms[1]).toBeGreaterThan(terms[0] ?? NaN);
    expect(ended).toMatchObject([{ term: terms[0], reason: { reason: 'broken' }, error: { message: 'stopped' } }]);
  });

  it('hands over to a preferred candidate when its work has stopped, and stands again behind it', async () => {
    const election = anId('behind');
    const abort = new AbortController();
    const led: { who: string; leader: Leadership }[] = [];
    let stoppedAtMs = NaN;
    const candidate = (who: string, priority: number, stopMs: number, signal?: AbortSignal) =>
      lead(client, { election, priority, signal, ttlMs: 20_000 }, async (leader) => {
        expect(led.filter((other) => other.leader.leads)).toEqual([]);
        led.push({ who, leader });
        await aborted(leader.signal);
        await new Promise((resolve) => setTimeout(resolve, stopMs));
        stoppedAtMs = performance.now();
      }).catch((error: unknown) => error);
    const usual = candidate('usual', 0, 150, abort.signal);
    await until(() => led.length === 1, { what: 'the usual one leads' });
    await using stalls = new StallMeter(() => client.getQueue(election));
    const ending = new AbortController();
    const preferred = candidate('preferred', 7, 0, ending.signal);
    await until(() => led.length === 2, { what: 'the preferred one leads' });
    expect(performance.now() - stoppedAtMs).toBeLessThan(500 + 5 * stalls.worstMs);
    await untilWaiting(app.client, election, 1);
    expect(led[1]?.leader.leads).toBe(true);
    ending.abort(new Error('enough'));
    expect(await preferred).toMatchObject({ message: 'enough' });
    await until(() => led.length === 3, { what: 'the usual one leads again' });
    expect(led.map(({ who }) => who)).toEqual(['usual', 'preferred', 'usual']);
    const terms = led.map(({ leader }) => leader.term);
    expect(terms).toEqual(terms.toSorted((a, b) => a - b));
    abort.abort();
    await usual;
    expect((await client.getQueue(election)).held).toBe(0);
  });

  it('refuses what no further campaign can change', async () => {
    const election = anId('refused');
    const work = lead(client, { election, ttlMs: 86_400_000 }, () => 'never');
    await expect(work).rejects.toMatchObject({ code: 'ttl_too_long' });
  });
});
