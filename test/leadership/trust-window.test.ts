import { expect, test, vi } from 'vitest';
import { TrustWindow } from '../../src/leadership/trust-window.ts';
import { systemClock } from '../../src/runtime/clock.ts';

const at = (nowMs: number) => ({
  nowMs,
  monotonicMs() {
    return this.nowMs;
  },
});

test('trust counts from the sending of the last successful attempt', () => {
  const clock = at(1000);
  const window = new TrustWindow(900, { clock, trustMs: 600, onEnd: () => undefined });
  expect(window.remainingMs()).toBe(500);
  clock.nowMs = 1400;
  window.extend(1100);
  expect(window.remainingMs()).toBe(300);
  window.close();
});

test('an answer after the end of trust extends nothing and ends the term', () => {
  const clock = at(0);
  const onEnd = vi.fn();
  const window = new TrustWindow(0, { clock, trustMs: 600, onEnd });
  // The process stood still: the timer has not fired, the answer comes first.
  clock.nowMs = 601;
  window.extend(300);
  expect(onEnd).toHaveBeenCalledOnce();
  expect(window.remainingMs()).toBe(0);
});

test('an older attempt that answers late does not shorten trust', () => {
  const clock = at(0);
  const window = new TrustWindow(0, { clock, trustMs: 600, onEnd: () => undefined });
  window.extend(-100);
  expect(window.remainingMs()).toBe(600);
  window.close();
});

test('a campaign whose answer took longer than the trust ends at once', () => {
  const onEnd = vi.fn();
  new TrustWindow(0, { clock: at(700), trustMs: 600, onEnd });
  expect(onEnd).toHaveBeenCalledOnce();
});

test('the end of trust comes by itself, and not after closing', async () => {
  const { promise, resolve } = Promise.withResolvers<number>();
  const startMs = performance.now();
  const closed = vi.fn();
  new TrustWindow(startMs, { clock: systemClock, trustMs: 20, onEnd: closed }).close();
  new TrustWindow(startMs, { clock: systemClock, trustMs: 50, onEnd: () => resolve(performance.now()) });
  expect((await promise) - startMs).toBeGreaterThanOrEqual(50);
  expect(closed).not.toHaveBeenCalled();
});
