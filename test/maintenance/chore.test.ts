import { expect, onTestFinished, test } from 'vitest';
import { ChoreRunner, ChoreTimeoutError, type Chore, type MaintenanceEvent } from '../../src/maintenance/chore.ts';
import type { Epoch, ReplicaId } from '../../src/protocol/ids.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { campaign } from '../../src/store/orchestrator-lock.ts';
import type { Term } from '../../src/store/decisions.ts';
import { ElectionRig } from '../support/electors.ts';
import { stressService } from '../support/stress-service.ts';
import { until } from '../support/until.ts';

const idle: Chore = { name: 'idle', periodMs: 10, timeoutMs: 1000, runOnce: async () => ({}) };

async function setup() {
  const rig = await ElectionRig.make();
  onTestFinished(() => rig[Symbol.asyncDispose]());
  const db = rig.lanes();
  const replicaId = 'a:1:x' as ReplicaId;
  const won = await campaign(db, replicaId, 600_000, { timeoutMs: 2000 });
  const term: Term = { replicaId, epoch: won.epoch };
  const events: MaintenanceEvent[] = [];
  const deposed: unknown[] = [];
  const runner = (chore: Partial<Chore>, inTerm = term) =>
    new ChoreRunner({
      db,
      clock: systemClock,
      chore: { ...idle, ...chore },
      term: inTerm,
      reportDeposed: (error) => deposed.push(error),
      onEvent: (event) => events.push(event),
      firstDelayMs: 0,
    });
  const recorded = async (chore: string) =>
    (await rig.database.query('select * from signalbox.chores where chore = $1', [chore])).rows[0];
  return { rig, db, term, events, deposed, runner, recorded };
}

test('a round is reported and recorded with what it did', async () => {
  const { term, events, runner, recorded } = await setup();
  const seen: Term[] = [];
  const one = runner({
    name: 'sweep',
    runOnce: async (options) => {
      seen.push(options.term);
      return { ended: 3 };
    },
  });
  expect(await one.runOnce({ signal: new AbortController().signal })).toBeUndefined();
  expect(seen).toEqual([term]);
  expect(events).toMatchObject([{ kind: 'chore.done', chore: 'sweep', counts: { ended: 3 } }]);
  expect(await recorded('sweep')).toMatchObject({ epoch: `${term.epoch}`, counts: { ended: 3 }, last_error: null });
});

test('rounds in which nothing happened are recorded once a second at most', async () => {
  const { events, runner, recorded } = await setup();
  const quiet = runner({ name: 'quiet', runOnce: async () => ({ ended: 0 }) });
  const { signal } = new AbortController();
  await quiet.runOnce({ signal });
  const first = await recorded('quiet');
  for (let n = 0; n < 5; n++) await quiet.runOnce({ signal });
  expect(await recorded('quiet')).toEqual(first);
  expect(events).toHaveLength(6);
});

test('a chore that fails does not stop the others, is recorded, and comes round again', async () => {
  const { events, runner, recorded } = await setup();
  let rounds = 0;
  const failing = runner({
    name: 'failing',
    periodMs: 5,
    runOnce: async () => {
      if (++rounds < 3) throw new Error(`round ${rounds} failed`);
      return { ended: 1 };
    },
  });
  const working = runner({ name: 'working', runOnce: async () => ({ ended: 1 }) });
  await failing.start();
  await working.start();
  await until(() => events.some((event) => event.kind === 'chore.done' && event.chore === 'failing'), {
    what: 'the chore recovers',
  });
  await failing.stop();
  await working.stop();
  const failed = events.filter((event) => event.kind === 'chore.failed');
  expect(failed.map(({ chore, error }) => [chore, (error as Error).message])).toEqual([
    ['failing', 'round 1 failed'],
    ['failing', 'round 2 failed'],
  ]);
  expect(events.some((event) => event.kind === 'chore.done' && event.chore === 'working')).toBe(true);
  expect(await recorded('failing')).toMatchObject({ counts: { ended: 1 }, last_error: 'round 2 failed' });
});

test('a round that takes too long is told to end and fails by name', async () => {
  const { events, runner, recorded } = await setup();
  const slow = runner({
    name: 'slow',
    timeoutMs: 20,
    runOnce: ({ signal }) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(new Error('told to end')), { once: true });
      }),
  });
  await expect(slow.runOnce({ signal: new AbortController().signal })).rejects.toThrow(ChoreTimeoutError);
  expect(events).toMatchObject([{ kind: 'chore.failed', chore: 'slow' }]);
  expect(await recorded('slow')).toMatchObject({ last_error: 'a round of chore slow did not end within 20 ms' });
});

test('a round that did not finish in its time but did its share goes on at once', async () => {
  const { runner } = await setup();
  const busy = runner({
    timeoutMs: 20,
    runOnce: ({ signal }) =>
      new Promise((resolve) => {
        signal.addEventListener('abort', () => resolve({ ended: 100 }), { once: true });
      }),
  });
  expect(await busy.runOnce({ signal: new AbortController().signal })).toBe('again');
});

test('a refused write is reported as deposed, in the round and in its record', async () => {
  const { db, term, events, deposed, runner } = await setup();
  const old: Term = { ...term, epoch: (term.epoch - 1) as Epoch };
  const { signal } = new AbortController();
  await runner({ runOnce: async () => ({ ended: 1 }) }, old).runOnce({ signal });
  expect(deposed).toHaveLength(1);
  const writing = async () => {
    await db.query('sweep', requireTerm(old));
    return {};
  };
  const write = runner({ runOnce: writing }, old);
  await expect(write.runOnce({ signal })).rejects.toMatchObject({ code: 'SB001' });
  expect(deposed).toHaveLength(2);
  expect(events.filter(({ kind }) => kind === 'chore.failed')).toEqual([]);
});

test('a record that cannot be written is told and costs nothing else', async () => {
  const { rig, events, runner } = await setup();
  await rig.database.query('alter table signalbox.chores rename to chores_away');
  await runner({ runOnce: async () => ({ ended: 1 }) }).runOnce({ signal: new AbortController().signal });
  expect(events.map(({ kind }) => kind)).toEqual(['chore.done', 'chore.record_failed']);
});

test('stopping aborts the round under way and waits for it', async () => {
  const { events, runner } = await setup();
  const entered = Promise.withResolvers<undefined>();
  let hasEnded = false;
  const long = runner({
    timeoutMs: 60_000,
    runOnce: ({ signal }) =>
      new Promise((_resolve, reject) => {
        entered.resolve(undefined);
        signal.addEventListener('abort', () => {
          hasEnded = true;
          reject(new Error('stopped'));
        });
      }),
  });
  await long.start();
  await entered.promise;
  await long.stop();
  expect(hasEnded).toBe(true);
  expect(events).toEqual([]);
});

test.each(['periodMs', 'timeoutMs'] as const)('a chore with a %s of nothing is refused', async (key) => {
  const { runner } = await setup();
  expect(() => runner({ [key]: 0 })).toThrow(`${key} of chore idle must be above 0`);
});

test('starting and stopping from all sides leaves no round running', async () => {
  const { rig, runner } = await setup();
  let running = 0;
  const stressed = runner({
    periodMs: 1,
    runOnce: async () => {
      expect(++running).toBe(1);
      await rig.database.query('select 1');
      running--;
      return {};
    },
  });
  await stressService(stressed);
  expect(running).toBe(0);
});

function requireTerm({ replicaId, epoch }: Term) {
  return { sql: 'select signalbox.require_term($1, $2)', parameters: [replicaId, epoch] };
}

test('the end of the term breaks off the round at once, before anybody stops the service', async () => {
  const { db, term } = await setup();
  const over = new AbortController();
  const round = Promise.withResolvers<AbortSignal>();
  await using runner = new ChoreRunner({
    db,
    clock: systemClock,
    chore: {
      ...idle,
      runOnce: async ({ signal }) => {
        round.resolve(signal);
        return {};
      },
    },
    term,
    termSignal: over.signal,
    reportDeposed: () => undefined,
    onEvent: () => undefined,
    firstDelayMs: 0,
  });
  await runner.start();
  const signal = await round.promise;
  over.abort();
  expect(signal.aborted).toBe(true);
});
