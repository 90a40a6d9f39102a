import { setTimeout as sleep } from 'node:timers/promises';
import type { Clients } from '../clients.ts';
import { quantile } from '../statistics.ts';
import { pair } from './pair-load.ts';

export interface PacedRate {
  readonly perSecond: number;
  /** From the moment a pair was due to its end: a server that falls behind shows here. */
  readonly p99Ms: number;
}

/**
 * Begins a pair when it is due, whether earlier ones are done or not, as long as a connection is free; what is late is
 * begun as soon as one is. What is not done in time does not count.
 */
export async function pacedPairs(
  clients: Clients,
  options: { perSecond: number; seconds: number; queueOf: (client: number, turn: number) => string },
): Promise<PacedRate> {
  const { perSecond, seconds, queueOf } = options;
  const idle = Array.from({ length: clients.count }, (_, client) => client);
  const turns = idle.map(() => 0);
  const latenciesMs: number[] = [];
  const underWay = new Set<Promise<void>>();
  const failures: unknown[] = [];
  const startedAtMs = performance.now();
  const endAtMs = startedAtMs + seconds * 1000;

  const begin = async (client: number, dueAtMs: number) => {
    const turn = turns[client] ?? 0;
    turns[client] = turn + 1;
    try {
      await pair(clients, client, queueOf(client, turn));
      const nowMs = performance.now();
      if (nowMs < endAtMs) latenciesMs.push(nowMs - dueAtMs);
      idle.push(client);
    } catch (error) {
      failures.push(error);
    }
  };
  for (let begun = 0; performance.now() < endAtMs && failures.length === 0;) {
    const due = Math.floor(((performance.now() - startedAtMs) / 1000) * perSecond);
    for (; begun < due; begun++) {
      // The one that has been idle longest.
      const client = idle.shift();
      if (client === undefined) break;
      const work = begin(client, startedAtMs + (begun / perSecond) * 1000);
      underWay.add(work);
      void work.finally(() => underWay.delete(work));
    }
    await sleep(1);
  }
  await Promise.all(underWay);
  if (failures.length > 0) throw new AggregateError(failures, String(failures[0]));
  return { perSecond: latenciesMs.length / seconds, p99Ms: quantile(latenciesMs, 0.99) };
}
