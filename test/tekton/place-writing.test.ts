import { describe, expect, it } from 'vitest';
import { PlaceWriting } from '../../src/tekton/place-writing.ts';

function aClock() {
  let nowMs = 0;
  return { monotonicMs: () => nowMs, pass: (ms: number) => (nowMs += ms) };
}
const toldAt = (toldAtMs: number) => ({ toldAtMs });

describe('L7: writing positions', () => {
  it('of a line of thousands that moves is done ten times a second at most', () => {
    const clock = aClock();
    const writing = new PlaceWriting(15_000, clock);
    const written = () =>
      Array.from({ length: 3000 }, () => writing.isAllowed(toldAt(-Infinity))).filter(Boolean).length;
    expect(written()).toBe(10);
    clock.pass(500);
    expect(written()).toBe(0);
    clock.pass(500);
    expect(written()).toBe(10);
  });

  it('of one run is done now and then', () => {
    const clock = aClock();
    const writing = new PlaceWriting(15_000, clock);
    clock.pass(10_000);
    expect(writing.isAllowed(toldAt(0))).toBe(false);
    clock.pass(5000);
    expect(writing.isAllowed(toldAt(0))).toBe(true);
  });
});
