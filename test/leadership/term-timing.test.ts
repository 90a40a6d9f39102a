import { expect, test } from 'vitest';
import { termTiming } from '../../src/leadership/term-timing.ts';

test('a lease of 10 s is renewed at a third and trusted for two thirds', () => {
  expect(termTiming(9000)).toMatchObject({ renewEveryMs: 3000, trustMs: 6000, attemptTimeoutMs: 1500 });
});

test.each([100, 1000, 10_000, 3_600_000])(
  'with a lease of %i ms two attempts fit between renewal and lost trust',
  (leaseMs) => {
    const { renewEveryMs, trustMs, attemptTimeoutMs } = termTiming(leaseMs);
    expect(2 * attemptTimeoutMs).toBeLessThanOrEqual(trustMs - renewEveryMs + 1e-9);
    expect(attemptTimeoutMs).toBeLessThan(leaseMs / 3);
  },
);

test.each([0, -5, 1.5, Number.NaN, Infinity])('a lease of %d ms is refused', (leaseMs) => {
  expect(() => termTiming(leaseMs)).toThrow('a leader lease must be a whole number of ms above 0');
});
