import { expect, test } from 'vitest';
import { runTerm, type TermContext } from '../../src/leadership/term-runner.ts';
import type { Epoch, ReplicaId } from '../../src/protocol/ids.ts';
import type { Service } from '../../src/runtime/service.ts';
import { until } from '../support/until.ts';

const refused = new Error('refused');

function setup() {
  const log: string[] = [];
  const failures: unknown[] = [];
  const over = new AbortController();
  const context: TermContext = {
    term: { replicaId: 'a' as ReplicaId, epoch: 1 as Epoch },
    signal: over.signal,
    reportDeposed: () => over.abort(),
  };
  const service = (name: string, parts: { start?: () => Promise<void>; stop?: () => Promise<void> } = {}): Service => ({
    name,
    start: async () => {
      log.push(`start ${name}`);
      await parts.start?.();
      log.push(`${name} runs`);
    },
    stop: async () => {
      log.push(`stop ${name}`);
      await parts.stop?.();
    },
    [Symbol.asyncDispose]: async () => undefined,
  });
  const run = (services: readonly Service[]) =>
    runTerm(context, {
      services: () => services,
      onStartFailed: (error) => {
        failures.push(error);
        over.abort();
      },
      onStopFailed: (error) => failures.push(error),
    });
  return { log, failures, over, service, run };
}

test('services start in order and stop in reverse when the term ends', async () => {
  const { log, over, service, run } = setup();
  const done = run([service('a'), service('b')]);
  await until(() => log.includes('b runs'), { what: 'both run' });
  over.abort();
  await done;
  expect(log.slice(0, 4)).toEqual(['start a', 'a runs', 'start b', 'b runs']);
  expect(log.filter((line) => line.startsWith('stop'))).toEqual(['stop b', 'stop a']);
});

test('nothing starts in a term that is over already', async () => {
  const { log, over, service, run } = setup();
  over.abort();
  await run([service('a')]);
  expect(log).toEqual([]);
});

test('a service that fails to start ends the term, and those before it are stopped', async () => {
  const { log, failures, service, run } = setup();
  await run([service('a'), service('b', { start: () => Promise.reject(refused) }), service('c')]);
  expect(failures).toEqual([refused]);
  expect(log).toContain('stop a');
  expect(log).not.toContain('start c');
});

test('a service that fails to stop does not keep the others running', async () => {
  const { log, failures, over, service, run } = setup();
  const running = Promise.withResolvers<undefined>();
  const done = run([
    service('a'),
    service('b', { start: async () => running.resolve(undefined), stop: () => Promise.reject(refused) }),
  ]);
  await running.promise;
  over.abort();
  await done;
  expect(failures).toContain(refused);
  expect(log).toContain('stop a');
});

test('a slow start that finishes after the term ended is undone', async () => {
  const { log, over, service, run } = setup();
  const entered = Promise.withResolvers<undefined>();
  const slow = Promise.withResolvers<undefined>();
  const stopped = Promise.withResolvers<undefined>();
  const done = run([
    service('slow', {
      start: async () => {
        entered.resolve(undefined);
        await slow.promise;
      },
      stop: async () => stopped.resolve(undefined),
    }),
    service('next'),
  ]);
  await entered.promise;
  over.abort();
  await stopped.promise;
  slow.resolve(undefined);
  await done;
  expect(log).toEqual(['start slow', 'stop slow', 'slow runs', 'stop slow']);
});
