import { setTimeout as sleep } from 'node:timers/promises';

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
    // Node's timers hold no more than 2^31 - 1 ms.
    signal: AbortSignal.any([cancelled, AbortSignal.timeout(Math.min(Math.ceil(ms), 2_147_483_647))]),
    leftMs,
    isOver: () => leftMs() === 0,
  };
}

/** Throws the signal's reason when it aborts. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  try {
    await sleep(ms, undefined, { signal });
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
