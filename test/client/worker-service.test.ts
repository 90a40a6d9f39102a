import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PermanentFailure, RetryLater, SignalboxClient, Worker, type WorkerOptions } from '../../src/client/index.ts';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { anId } from '../support/http-client.ts';
import { startTestApp, type TestApp } from '../support/test-app.ts';
import { until } from '../support/until.ts';
import { type Asked, ScriptedService } from './scripted-service.ts';
import { untilAborted } from './worker/a-worker.ts';

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

/** What the service itself answers. */
async function relayed({ method, url, body }: Asked): Promise<{ readonly status: number; readonly body: string }> {
  const answer = await fetch(`${app.url}${url}`, {
    method,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  return { status: answer.status, body: await answer.text() };
}

/** Hands every call on to the service, and loses every third answer. */
function lossyRelay(): Promise<ScriptedService> {
  return ScriptedService.start(async (asked, number) => {
    const answer = await relayed(asked);
    return number % 3 === 1 ? 'hang up' : answer;
  });
}

/** Hands every call on to the service, and keeps the answer of a take that got runs until its client has hung up. */
async function slowRelay() {
  const granted = Promise.withResolvers<unknown>();
  const relay = await ScriptedService.start(async (asked) => {
    const answer = await relayed(asked);
    const isGrant = asked.url === '/v1/take' && !answer.body.includes('"claims":[]');
    if (isGrant && Number(asked.body?.['wait_ms']) > 0) {
      granted.resolve(answer);
      if (!asked.gone.aborted) await new Promise((resolve) => asked.gone.addEventListener('abort', resolve));
    }
    return answer;
  });
  return {
    url: relay.url,
    granted: granted.promise,
    [Symbol.asyncDispose]: () => relay[Symbol.asyncDispose](),
  };
}

/** A started worker and what it told. */
async function working(options: Partial<WorkerOptions> & Pick<WorkerOptions, 'handler'>) {
  const worker = new Worker({ client, graceMs: 0, settleMs: 1000, ...options });
  const told: string[] = [];
  const note = (event: string) => void told.push(event);
  worker
    .on('ended', ({ claim_id: id }, { outcome }) => note(`${id} ${outcome}`))
    .on('retried', ({ claim_id: id }, { state }) => note(`${id} ${state}`))
    .on('failed', ({ claim_id: id }, { outcome, state }) => note(`${id} failed by ${outcome}, ${state}`))
    .on('lost', ({ claim_id: id }, reason) => note(`${id} lost: ${reason}`))
    .on('unreachable', (error, call) => note(`${call}: ${error.message}`))
    .on('refused', (error, call) => note(`${call}: ${error.message}`));
  await worker.start();
  return {
    worker,
    told,
    has: (event: string) => until(() => told.includes(event), { what: `${event}, told ${told.join(', ')}` }),
    [Symbol.asyncDispose]: () => worker.stop(),
  };
}

describe('a worker on a real service', () => {
  it('works with others on the same queues: every run once, and never more of a queue than its limit', async () => {
    const prefix = `${anId('many')}/`;
    const seen: string[] = [];
    let [here, most] = [0, 0];
    const handler = async (run: { claim_id: string }, { signal }: { signal: AbortSignal }) => {
      most = Math.max(most, ++here);
      seen.push(run.claim_id);
      await new Promise((resolve) => setTimeout(resolve, 5));
      signal.throwIfAborted();
      here--;
    };
    const names = Array.from({ length: 60 }, (_none, index) => `run-${index}`);
    for (const queue of ['a', 'b', 'c']) await client.configureQueue(prefix + queue, { concurrency_limit: 2 });
    await using first = await working({ prefix, handler, concurrency: 4 });
    await using second = await working({ prefix, handler, concurrency: 4 });
    await Promise.all(names.map((id, index) => client.enqueue(`${prefix}${'abc'[index % 3]}`, { claim_id: id })));
    const sides = [first, second];
    const state = () => sides.map(({ told, worker }) => `${told.length} told, ${worker.running} at work`).join('; ');
    await until(
      () => {
        if (first.told.length + second.told.length < names.length) throw new Error(state());
        return true;
      },
      { what: 'all are told' },
    );
    expect([...first.told, ...second.told].sort()).toEqual(names.map((id) => `${id} success`).sort());
    expect(seen.sort()).toEqual(names.sort());
    expect(most).toBeLessThanOrEqual(6);
  });

  it('works on every run once, whatever answers are lost on the way', async () => {
    const queue = anId('lossy');
    await client.configureQueue(queue, { concurrency_limit: 5 });
    await using relay = await lossyRelay();
    const attempts: number[] = [];
    await using at = await working({
      client: new SignalboxClient({ url: relay.url }),
      queue,
      concurrency: 5,
      ttlMs: 2000,
      waitMs: 200,
      handler: async (_run, { attempt }) => {
        attempts.push(attempt);
        await new Promise((resolve) => setTimeout(resolve, attempts.length % 10 === 0 ? 1000 : 5));
      },
    });
    const names = Array.from({ length: 30 }, (_none, index) => `run-${index}`);
    await Promise.all(names.map((id) => client.enqueue(queue, { claim_id: id })));
    for (const id of names) await at.has(`${id} success`);
    expect(attempts).toEqual(names.map(() => 1));
    expect(at.told.filter((event) => /lost|waiting|delayed/.test(event))).toEqual([]);
    expect((await client.getQueue(queue)).held).toBe(0);
  });

  it('retries, gives up after the last attempt, and keeps why; redriven it runs again', async () => {
    const queue = anId('retries');
    const attempts: number[] = [];
    let isCured = false;
    await using at = await working({
      queue,
      handler: (_run, { attempt }) => {
        attempts.push(attempt);
        if (!isCured) throw new RetryLater(20, { message: 'not yet' });
      },
    });
    await client.enqueue(queue, { claim_id: 'a', max_attempts: 3 });
    await at.has('a failed by retry, dead');
    expect(attempts).toEqual([1, 2, 3]);
    const { dead_letters: letters } = await client.listDeadLetters({ queue });
    expect(letters).toMatchObject([{ claim_id: 'a', reason: 'max_attempts', attempts: 3 }]);
    expect(letters[0]?.error).toMatch(/^RetryLater: not yet\n/);
    expect(letters[0]?.history.map(({ attempt, outcome }) => [attempt, outcome])).toEqual(
      [1, 2, 3].map((attempt) => [attempt, 'retry']),
    );
    isCured = true;
    expect(await client.redriveDeadLetters(queue, { claim_ids: ['a'], actor: 'me' })).toMatchObject({ redriven: 1 });
    await at.has('a success');
    expect(attempts).toEqual([1, 2, 3, 4]);
  });

  it('keeps a run that fails for good as a dead letter, with its payload', async () => {
    const queue = anId('bad');
    await using at = await working({
      queue,
      handler: () => {
        throw new PermanentFailure('cannot be read');
      },
    });
    await client.enqueue(queue, { claim_id: 'a', payload: { broken: true } });
    await at.has('a failed by failure, released');
    expect((await client.listDeadLetters({ queue })).dead_letters).toMatchObject([
      { claim_id: 'a', reason: 'failure', outcome: 'failure', payload: { broken: true } },
    ]);
  });

  it('keeps its runs by renewing them all, stops one that is cancelled, and loses one that is broken', async () => {
    const queue = anId('renewed');
    await client.configureQueue(queue, { concurrency_limit: 3 });
    const ends = new Map<string, () => void>();
    await using at = await working({
      queue,
      concurrency: 3,
      ttlMs: 1000,
      handler: (run, context) =>
        run.claim_id === 'kept'
          ? new Promise<void>((resolve) => ends.set(run.claim_id, resolve))
          : untilAborted(run, context),
    });
    for (const id of ['kept', 'cancelled', 'broken']) await client.enqueue(queue, { claim_id: id });
    await until(() => at.worker.running === 3, { what: 'all are at work' });
    await new Promise((resolve) => setTimeout(resolve, 1500));
    await client.cancel(queue, 'cancelled');
    await client.break(queue, 'broken', { actor: 'me', reason: 'test' });
    await Promise.all([at.has('cancelled cancelled'), at.has('broken lost: broken')]);
    ends.get('kept')?.();
    await at.has('kept success');
    expect(at.told).toHaveLength(3);
    // Nothing went wrong with what somebody cancelled.
    expect(await client.getClaim(queue, 'cancelled')).toMatchObject({ outcome: 'cancelled', error: null });
  });

  it('gives back what was granted while it stopped, in its last attempt even: the next worker has it as the first', async () => {
    const queue = anId('late');
    await client.configureQueue(queue, { concurrency_limit: 3 });
    const names = ['a', 'b', 'c'];
    for (const id of names) await client.enqueue(queue, { claim_id: id, max_attempts: 1 });
    await using relay = await slowRelay();
    const begun: string[] = [];
    const handler = (run: { claim_id: string }, { attempt }: { attempt: number }) => {
      begun.push(`${run.claim_id} ${attempt}`);
    };
    const first = await working({ client: new SignalboxClient({ url: relay.url }), queue, concurrency: 3, handler });
    await relay.granted;
    await first.worker.stop({ graceMs: 0 });
    expect(begun).toEqual([]);
    expect(first.told.sort()).toEqual(names.map((id) => `${id} waiting`));
    await using second = await working({ queue, concurrency: 3, handler });
    for (const id of names) await second.has(`${id} success`);
    expect(begun.sort()).toEqual(names.map((id) => `${id} 1`));
  });

  it('loses and kills nothing, however its stop meets the arrival of runs', async () => {
    const queue = anId('race');
    await client.configureQueue(queue, { concurrency_limit: 100 });
    const begun: string[] = [];
    const handler = (run: { claim_id: string }, { attempt }: { attempt: number }) => {
      begun.push(`${run.claim_id} ${attempt}`);
    };
    const names = Array.from({ length: 40 }, (_none, index) => `run-${index}`);
    for (const [index, id] of names.entries()) {
      const { worker } = await working({ queue, handler, settleMs: 5000 });
      const enqueued = client.enqueue(queue, { claim_id: id, max_attempts: 1 });
      await new Promise((resolve) => setTimeout(resolve, index % 20));
      await Promise.all([enqueued, worker.stop({ graceMs: 0 })]);
    }
    await using last = await working({ queue, handler, concurrency: 40 });
    await until(() => begun.length >= names.length, { what: 'all have begun' });
    await last.worker.stop({ graceMs: 5000 });
    expect(begun.sort()).toEqual(names.map((id) => `${id} 1`).sort());
    expect((await client.listDeadLetters({ queue })).dead_letters).toEqual([]);
    expect(await client.getQueue(queue)).toMatchObject({ held: 0, runs: 0, delayed: 0 });
  });

  it('gives its work to the others when it stops', async () => {
    const queue = anId('handed');
    const first = await working({ queue, handler: untilAborted });
    await client.enqueue(queue, { claim_id: 'a' });
    await until(() => first.worker.running === 1, { what: 'it is at work' });
    await using second = await working({ queue, handler: (_run, { attempt }) => attempt });
    await first.worker.stop({ graceMs: 50 });
    expect(first.told).toEqual(['a waiting']);
    await second.has('a success');
  });
});
