import { setTimeout as sleep } from 'node:timers/promises';

export interface UntilOptions {
  readonly timeoutMs?: number;
  /** Completes "gave up waiting until …". */
  readonly what: string;
}

/**
 * How long a test waits for the feed: it stays behind the oldest transaction of its database, and may for a moment wait for one
 * of another test's.
 */
export const feedPatienceMs = 30_000;

/**
 * Looks every 20 ms until the check gives something truthy, and returns that. A check that throws counts as "not yet".
 * Only for what tells nobody when it happens: where there is an event, wait for the event.
 */
export async function until<T>(
  check: () => T | Promise<T>,
  { timeoutMs = 10_000, what }: UntilOptions,
): Promise<Exclude<T, false | null | undefined | 0 | ''>> {
  const endsAtMs = performance.now() + timeoutMs;
  let last: unknown;
  do {
    try {
      last = await check();
      if (Boolean(last)) return last as Exclude<T, false | null | undefined | 0 | ''>;
    } catch (error) {
      last = error;
    }
    await sleep(20);
  } while (performance.now() < endsAtMs);
  const seen = last instanceof Error ? last.message : JSON.stringify(last);
  throw new Error(`gave up waiting ${timeoutMs} ms until ${what}; last seen: ${seen}`, { cause: last });
}
