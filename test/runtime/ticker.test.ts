import { expect, test } from 'vitest';
import { Ticker } from '../../src/runtime/ticker.ts';
import { stressService } from '../support/stress-service.ts';

test('a round that asks for another gets it at once, and a nudge ends the pause', async () => {
  const third = Promise.withResolvers<undefined>();
  let rounds = 0;
  await using ticker: Ticker = new Ticker({
    name: 'test',
    periodMs: 60_000,
    firstDelayMs: 0,
    runOnce: async () => {
      if (++rounds === 3) third.resolve(undefined);
      if (rounds === 2) setImmediate(() => ticker.nudge());
      return rounds === 1 ? 'again' : undefined;
    },
    onError: () => undefined,
  });
  await ticker.start();
  await third.promise;
});

test('a failed round is told and the next one comes', async () => {
  const errors: unknown[] = [];
  const recovered = Promise.withResolvers<undefined>();
  let rounds = 0;
  await using ticker = new Ticker({
    name: 'test',
    periodMs: 1,
    firstDelayMs: 0,
    runOnce: async () => {
      if (++rounds === 1) throw new Error('first');
      recovered.resolve(undefined);
      return undefined;
    },
    onError: (error) => errors.push(error),
  });
  await ticker.start();
  await recovered.promise;
  expect(errors).toMatchObject([{ message: 'first' }]);
});

test('starting and stopping from all sides leaves no round running, and never two at a time', async () => {
  let running = 0;
  let most = 0;
  const ticker = new Ticker({
    name: 'test',
    periodMs: 1,
    firstDelayMs: 0,
    runOnce: async () => {
      most = Math.max(most, ++running);
      await new Promise((resolve) => setImmediate(resolve));
      running--;
      return undefined;
    },
    onError: () => undefined,
  });
  await stressService(ticker);
  expect({ running, most }).toEqual({ running: 0, most: 1 });
});
