import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Progress } from '../../src/action/progress.ts';
import { runnerOf } from '../../src/action/runner.ts';
import type { WaitDetail } from '../../src/action/lease-service.ts';

const nothing: WaitDetail = {
  position: undefined,
  registered: undefined,
  waitingFor: undefined,
  windowRemainingMs: undefined,
  delaysLeft: undefined,
  blockedBy: undefined,
};
const headSha = '0123456789abcdef';
const held: WaitDetail = {
  ...nothing,
  position: 2,
  registered: 3,
  waitingFor: 'held',
  blockedBy: { headSha, headRef: `gh-readonly-queue/main/pr-12-${headSha}`, priority: 4, heldForMs: 65_000 },
};

let printed: string[];
let progress: Progress;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance'] });
  printed = [];
  progress = new Progress(runnerOf({}, (text) => void printed.push(text.trimEnd())));
});
afterEach(() => {
  vi.useRealTimers();
});

describe('the progress in the log', () => {
  it('tells who holds, for how long, and which place the build has', () => {
    progress.pending(held);
    expect(printed).toEqual([
      '0 s: pending at position 2 of 3; the build of #12 (01234567, priority 4) has had the lease for 1 min 5 s',
    ]);
  });

  it('says no more than pending where the service says no more', () => {
    progress.pending(nothing);
    expect(printed).toEqual(['0 s: pending']);
  });

  it('comes when something changed, and at least once a minute', () => {
    const told = [];
    for (const [afterMs, wait] of [
      [0, held],
      [15_000, held],
      [15_000, { ...held, position: 1 }],
      [45_000, { ...held, position: 1 }],
      [15_000, { ...held, position: 1 }],
    ] as const) {
      vi.advanceTimersByTime(afterMs);
      const isNews = progress.pending(wait);
      told.push([printed.length, isNews]);
    }
    expect(told).toEqual([
      [1, true],
      [1, false],
      [2, true],
      [2, false],
      [3, false],
    ]);
    expect(printed[2]).toMatch(/^1 min 30 s: pending at position 1/);
  });

  it('cannot be made a command by what a service says', () => {
    progress.keptOut('x\n::set-output name=status::acquired');
    runnerOf({}, (text) => void printed.push(text)).info('::error::x');
    expect(printed.filter((text) => text.startsWith('::') || text.includes('\n::'))).toEqual([]);
  });
});
