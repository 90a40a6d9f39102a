import { setTimeout as sleep } from 'node:timers/promises';
import { jittered } from '../../runtime/backoff.ts';
import { systemClock } from '../../runtime/clock.ts';

/** One time budget for everything a call does, so that its waits cannot add up. */
export interface Deadline {
  hasPassed(): boolean;
  remainingMs(): number;
}

export function deadlineIn(timeoutMs: number): Deadline {
  const endsAtMs = systemClock.monotonicMs() + timeoutMs;
  return {
    hasPassed: () => systemClock.monotonicMs() >= endsAtMs,
    remainingMs: () => Math.max(0, endsAtMs - systemClock.monotonicMs()),
  };
}

/** A short wait between two looks at something of another process; half its length is jitter. */
export async function pollPause(): Promise<void> {
  await sleep(jittered(30, 0.5));
}
