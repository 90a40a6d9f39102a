import { expect, test } from 'vitest';
import { Bell } from '../../src/runtime/bell.ts';

const never = new AbortController().signal;

test('a call ends the wait, and one that came before it is not lost', async () => {
  const bell = new Bell();
  const waiting = bell.wait(60_000, never);
  bell.ring();
  await waiting;
  bell.ring();
  await bell.wait(60_000, never);
});

test('a call serves one wait: the next one waits for its own', async () => {
  const bell = new Bell();
  bell.ring();
  bell.ring();
  await bell.wait(60_000, never);
  let isOver = false;
  const waiting = bell.wait(60_000, never).then(() => (isOver = true));
  await new Promise(setImmediate);
  expect(isOver).toBe(false);
  bell.ring();
  await waiting;
});

test('the wait ends with its time, with any of its signals, and at once where one has aborted already', async () => {
  const bell = new Bell();
  await bell.wait(1, never);
  await bell.wait(0, never);
  const [one, other] = [new AbortController(), new AbortController()];
  const waiting = bell.wait(60_000, one.signal, other.signal);
  other.abort();
  await waiting;
  await bell.wait(60_000, one.signal, other.signal);
});
