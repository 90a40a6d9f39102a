import type pg from 'pg';
import { drawsOf, type LineEvent, openLine } from './line-load.ts';

const priorities = 8;

/** Claims or runs of random priorities come and go in a queue with this head start, until so many got a place. */
export async function ageLine(client: pg.Client, { kind, grants, headStartMs, limit, seed }: Load): Promise<Aged> {
  const draw = drawsOf(seed);
  const line = await openLine(client, 'aged', kind, { concurrency_limit: limit, priority_head_start_ms: headStartMs });
  const priorityOf = new Map<string, number>();
  for (let asked = 0, step = 0; asked < grants; step++) {
    // In bursts, so that the line grows and drains.
    const count = Math.min(grants - asked, step % 40 < 20 ? draw(2 * limit + 1) : draw(limit));
    const newcomers = Array.from({ length: count }, () => ({ claim_id: `c${asked++}`, priority: draw(priorities) }));
    for (const { claim_id, priority } of newcomers) priorityOf.set(claim_id, priority);
    await line.step(draw(headStartMs), 80, newcomers, step);
  }
  for (let step = 0; await line.isBusy(); step++) await line.step(1, 100, [], step);
  return agedBy(await line.events(), priorityOf, headStartMs);
}

interface Load {
  readonly kind: 'claim' | 'run';
  readonly grants: number;
  readonly headStartMs: number;
  readonly limit: number;
  readonly seed: number;
}
interface Aged {
  readonly grants: number;
  /** Grants that passed somebody who had come before. */
  readonly passes: number;
  /** The grants that passed somebody by more than the bound. */
  readonly beyond: readonly string[];
  /** How much later than one it passed a claim came, at most, in ms for each unit of priority between them. */
  readonly furthestMs: number;
}

/** Every grant against everybody who waited then: of each priority, it is enough to look at who came first. */
function agedBy(events: readonly LineEvent[], priorityOf: ReadonlyMap<string, number>, headStartMs: number): Aged {
  const waiting = Array.from({ length: priorities }, () => new Map<string, number>());
  const beyond: string[] = [];
  let [grants, passes, furthestMs] = [0, 0, 0];
  for (const { type, claim_id, at_ms } of events) {
    const priority = priorityOf.get(claim_id) ?? Number.NaN;
    const own = waiting[priority];
    if (own === undefined) throw new Error(`${claim_id} was never asked for`);
    if (type === 'claim.queued') {
      own.set(claim_id, at_ms);
      continue;
    }
    grants++;
    // Granted at once: nobody waited, so nobody was passed.
    const came = own.get(claim_id) ?? at_ms;
    own.delete(claim_id);
    let isPassing = false;
    for (const [lower, others] of waiting.entries()) {
      const [first] = others;
      if (first === undefined) continue;
      const laterMs = came - first[1];
      if (laterMs > Math.max(0, (priority - lower) * headStartMs)) beyond.push(`${claim_id} passed ${first[0]}`);
      if (laterMs > 0) isPassing = true;
      if (priority > lower) furthestMs = Math.max(furthestMs, laterMs / (priority - lower));
    }
    if (isPassing) passes++;
  }
  return { grants, passes, beyond, furthestMs };
}
