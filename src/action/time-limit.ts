import { setTimeout as sleep } from 'node:timers/promises';

/** Node's timers hold no more; of a longer time they make 1 ms. */
const timerMsMax = 2_147_483_647;

/** A server may make us wait so long, whatever it says: a mistake of it costs no more, and we soon know that it is gone. */
export const toldMsMax = 3 * 60_000;

/** A time that a server told. Undefined where it is none. */
export function toldMs(value: unknown): number | undefined {
  return typeof value === 'number' && value >= 0 ? Math.min(value, toldMsMax) : undefined;
}

/** Until when something may be tried, and the signal that ends what still runs then. */
export interface TimeLimit {
  readonly signal: AbortSignal;
  leftMs(): number;
  isOver(): boolean;
}

/** Over after `ms`, or when `cancelled` aborts: its reason is then the signal's. */
export function timeLimit(ms: number, cancelled: AbortSignal): TimeLimit {
  const endsAtMs = performance.now() + ms;
  const leftMs = () => Math.max(0, endsAtMs - performance.now());
  return {
    signal: AbortSignal.any([cancelled, AbortSignal.timeout(Math.min(Math.ceil(ms), timerMsMax))]),
    leftMs,
    isOver: () => leftMs() === 0,
  };
}

/** Throws the signal's reason when it aborts. What is no number counts as a second, so that no loop can spin on it. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  try {
    await sleep(Number.isNaN(ms) ? 1000 : Math.min(Math.max(0, ms), timerMsMax), undefined, { signal });
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  }
}

/** "4 s", "2 min 5 s", "1 h 3 min". */
export function inWords(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min ${seconds % 60} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
