import { describe, expect, it } from 'vitest';
import { backoffMs, jittered, startDelayMs } from '../../src/runtime/backoff.ts';

const many = <T>(make: () => T): T[] => Array.from({ length: 2000 }, make);

describe('backoff', () => {
  it.each([
    [0, 100],
    [1, 200],
    [4, 1600],
    [10, 5000],
    [10_000, 5000],
  ])('attempt %i waits up to %i ms and at least a tenth of that', (attempt, ceilingMs) => {
    const waits = many(() => backoffMs(attempt, { firstMs: 100, maxMs: 5000 }));
    expect(Math.max(...waits)).toBeLessThanOrEqual(ceilingMs);
    expect(Math.min(...waits)).toBeGreaterThanOrEqual(ceilingMs / 10);
    expect(Math.max(...waits)).toBeGreaterThan(ceilingMs * 0.9);
    expect(Math.min(...waits)).toBeLessThan(ceilingMs * 0.2);
  });
});

describe('jitter', () => {
  it('spreads a period by its fraction to both sides', () => {
    const periods = many(() => jittered(1000, 0.2));
    expect(Math.min(...periods)).toBeGreaterThanOrEqual(800);
    expect(Math.max(...periods)).toBeLessThanOrEqual(1200);
    expect(Math.min(...periods)).toBeLessThan(850);
    expect(Math.max(...periods)).toBeGreaterThan(1150);
  });

  it('the first round comes within its period and within a second', () => {
    expect(Math.max(...many(() => startDelayMs(50)))).toBeLessThanOrEqual(50);
    expect(Math.max(...many(() => startDelayMs(60_000)))).toBeLessThanOrEqual(1000);
  });
});
