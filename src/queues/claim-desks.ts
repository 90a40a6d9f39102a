import type { Arrival } from '../notifier/waiting-room.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Database } from '../store/database.ts';
import { type ClaimKey, type Decision, type RenewOperation, look, renew } from '../store/decisions.ts';
import { failureKind } from '../store/failures.ts';
import { Batcher } from './batcher.ts';
import { databaseProblem } from './database-problem.ts';

export interface DeskOptions {
  readonly db: Database;
  readonly clock: Clock;
  readonly batchMax: number;
  readonly pendingMax: number;
  /** Calls at once, as many as the lane has connections. */
  readonly inFlight: { readonly read: number; readonly renew: number };
}

/** `listen_ms`: how long the client of the claim will listen from now on. */
export type Look = ClaimKey & { readonly listen_ms?: number };

export interface ClaimDesks {
  /** Reads of claims whose client asked: they are heard by it. All of one turn go out as one call. */
  readonly looks: Batcher<Look, Arrival>;
  /** Reads of claims by somebody else: nobody is heard by it, no offer accepted. */
  readonly glances: Batcher<ClaimKey, Arrival>;
  /** Renewals, on connections of their own: they are never behind decisions. */
  readonly renewals: Batcher<RenewOperation, Arrival>;
}

export function createClaimDesks({ db, inFlight, ...options }: DeskOptions): ClaimDesks {
  const reads = { ...options, inFlightMax: Math.min(2, inFlight.read) };
  return {
    looks: createDesk({ ...reads, call: (items: readonly Look[]) => look(db, items, { hear: true }) }),
    glances: createDesk({ ...reads, call: (items: readonly ClaimKey[]) => look(db, items, { hear: false }) }),
    renewals: createDesk({
      ...options,
      inFlightMax: inFlight.renew,
      call: (items: readonly RenewOperation[]) => renew(db, items),
    }),
  };
}

interface CallOptions<Item> extends Omit<DeskOptions, 'db' | 'inFlight'> {
  readonly inFlightMax: number;
  readonly call: (items: readonly Item[]) => Promise<readonly Decision[]>;
}

/** A batch that met a lock or a deadlock did nothing; then each item is tried alone, once. */
function createDesk<Item>({ call, clock, ...bounds }: CallOptions<Item>): Batcher<Item, Arrival> {
  const run = async (items: readonly Item[], sentAtMs: number): Promise<readonly (Arrival | Promise<Arrival>)[]> => {
    try {
      return sorted(items.length, await call(items), sentAtMs);
    } catch (error) {
      if (failureKind(error) !== 'contended' || items.length === 1) throw databaseProblem(error);
      return items.map(async (item) => {
        const [arrival] = await run([item], clock.monotonicMs());
        if (arrival === undefined) throw new Error('the database did not answer');
        return arrival;
      });
    }
  };
  return new Batcher({ clock, run, ...bounds });
}

function sorted(count: number, decisions: readonly Decision[], sentAtMs: number): Arrival[] {
  const arrivals: Arrival[] = [];
  for (const decision of decisions) if (decision.item !== null) arrivals[decision.item] = { decision, sentAtMs };
  for (let item = 0; item < count; item++) {
    if (arrivals[item] === undefined) throw new Error(`no answer for item ${item}`);
  }
  return arrivals;
}
