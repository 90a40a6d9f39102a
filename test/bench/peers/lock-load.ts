import { setTimeout as pause } from 'node:timers/promises';
import { quantile } from '../statistics.ts';
import type { HandOff, Rate } from './peer.ts';

/** One lock service as its clients see it. Each client has one call under way at a time. */
export interface Locks<Grant> {
  /** Resolves when the client holds the lock. */
  acquire(client: number, key: number): Promise<Grant>;
  /** Throws if the client did not hold it any more. */
  release(client: number, key: number, grant: Grant): Promise<void>;
}

const keys = 10_000;

/** Acquire + release as fast as `clients` can, each on its own share of the keys in turn. */
export async function measurePairs<Grant>(locks: Locks<Grant>, clients: number, seconds: number): Promise<Rate> {
  const latenciesMs: number[] = [];
  const keysEach = Math.floor(keys / clients);
  const startedAtMs = performance.now();
  const endAtMs = startedAtMs + seconds * 1000;
  await Promise.all(
    Array.from({ length: clients }, async (_, client) => {
      for (let turn = 0; performance.now() < endAtMs; turn++) {
        const key = client * keysEach + (turn % keysEach);
        const sentAtMs = performance.now();
        await locks.release(client, key, await locks.acquire(client, key));
        latenciesMs.push(performance.now() - sentAtMs);
      }
    }),
  );
  const perSecond = latenciesMs.length / ((performance.now() - startedAtMs) / 1000);
  return { perSecond, p50Ms: quantile(latenciesMs, 0.5), p99Ms: quantile(latenciesMs, 0.99) };
}

const holdMs = 2;
const rejoinMs = 15;

/**
 * From just before a release is sent to the next holder being told, with `waiters` clients on one lock. The first round
 * of all of them is not counted: they are still joining.
 */
export async function measureHandOff<Grant>(locks: Locks<Grant>, waiters: number, handOffs: number): Promise<HandOff> {
  const delaysMs: number[] = [];
  const key = 0;
  let [grants, waiting] = [0, 0];
  let releasedAtMs: number | undefined;
  await Promise.all(
    Array.from({ length: waiters }, async (_, client) => {
      while (delaysMs.length < handOffs) {
        waiting++;
        const grant = await locks.acquire(client, key);
        const grantedAtMs = performance.now();
        waiting--;
        // Who still waits when all is measured takes the lock and gives it back.
        const isLast = delaysMs.length >= handOffs;
        if (!isLast && releasedAtMs !== undefined && ++grants > waiters) delaysMs.push(grantedAtMs - releasedAtMs);
        if (!isLast) await pause(holdMs);
        // A lock that nobody waits for is not handed on.
        releasedAtMs = waiting > 0 ? performance.now() : undefined;
        await locks.release(client, key, grant);
        if (delaysMs.length < handOffs) await pause(rejoinMs);
      }
    }),
  );
  return { p50Ms: quantile(delaysMs, 0.5), p99Ms: quantile(delaysMs, 0.99), handOffs: delaysMs.length };
}
