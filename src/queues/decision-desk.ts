import { setTimeout as sleep } from 'node:timers/promises';
import type { Arrival } from '../notifier/waiting-room.ts';
import { SignalboxError } from '../protocol/errors.ts';
import { newQueueMaxTtlMs } from '../protocol/queues.ts';
import { backoffMs } from '../runtime/backoff.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Database } from '../store/database.ts';
import { type Decision, type Operation, decide, decideWaiting, ensureQueues } from '../store/decisions.ts';
import { failureKind } from '../store/failures.ts';
import { Batcher } from './batcher.ts';
import { databaseProblem } from './database-problem.ts';
import type { News } from './news.ts';
import { QueueTurns } from './queue-turns.ts';

export interface DecisionDeskOptions {
  readonly db: Database;
  readonly clock: Clock;
  readonly news: News;
  readonly autoCreateQueues: boolean;
  readonly batchMax: number;
  readonly inFlightMax: number;
  readonly pendingMax: number;
  /** How long an operation may try to get its queue's line before the caller is told `overloaded`. */
  readonly lineWaitMs: number;
  readonly onBatch: (size: number) => void;
}

interface Contender {
  readonly operation: Operation;
  readonly untilMs: number;
  readonly resolve: (arrival: Arrival) => void;
  readonly reject: (error: unknown) => void;
  /** Its batch met a lock or a deadlock: it is tried by itself, so that its neighbours do not suffer for it. */
  isAlone: boolean;
}

/**
 * Where operations become decisions. The usual way is one mixed call for all that arrived in a turn. Of such
 * calls at the same time no two are about one queue: its operations take turns. A call skips lines that somebody else has
 * locked. Their operations go through a lane of their own, one call per busy queue, so that one stuck queue never stalls
 * the replica. A queue that does not exist is made by a call of its own, then asked again.
 */
export class DecisionDesk {
  readonly #options: DecisionDeskOptions;
  readonly #batcher: Batcher<Operation, Arrival>;
  readonly #newQueues: Batcher<string, true>;
  readonly #lanes = new Map<string, Contender[]>();
  readonly #turns = new QueueTurns();

  constructor(options: DecisionDeskOptions) {
    this.#options = options;
    this.#batcher = new Batcher({
      clock: options.clock,
      run: (operations, sentAtMs) => this.#run(operations, sentAtMs),
      batchMax: options.batchMax,
      inFlightMax: options.inFlightMax,
      pendingMax: options.pendingMax,
      onBatch: options.onBatch,
    });
    this.#newQueues = new Batcher({
      clock: options.clock,
      run: async (queues) => {
        await ensureQueues(options.db, queues);
        return queues.map(() => true as const);
      },
      batchMax: options.batchMax,
      inFlightMax: 1,
      pendingMax: options.pendingMax,
    });
  }

  /** Operations that wait to be sent, those that wait for their queue's turn or contend for its line included. */
  get pending(): number {
    let pending = this.#batcher.pending + this.#turns.waiting;
    for (const lane of this.#lanes.values()) pending += lane.length;
    return pending;
  }

  /**
   * The decision about one operation, after its commit. Throws `overloaded` (nothing was done), `database_unavailable`
   * or `database_timeout` (unknown whether it was).
   */
  async decide(operation: Operation): Promise<Arrival> {
    const untilMs = this.#options.clock.monotonicMs() + this.#options.lineWaitMs;
    const arrival = await this.#submit(operation, untilMs);
    if (arrival.decision.code !== 'queue_not_found') return arrival;
    if (!makesQueues(operation) || !this.#options.autoCreateQueues) return arrival;
    if (operation.op === 'acquire' && operation.ttl_ms !== undefined && operation.ttl_ms > newQueueMaxTtlMs) {
      // Made with the defaults, the queue would refuse it; what is refused leaves nothing behind.
      const body = { max_ttl_ms: newQueueMaxTtlMs };
      return { ...arrival, decision: { ...arrival.decision, code: 'ttl_too_long', body } };
    }
    try {
      await Promise.all(queuesOf(operation).map((queue) => this.#newQueues.submit(queue)));
    } catch (error) {
      // Another replica may be making or deleting it right now; the next attempt sees which.
      if (failureKind(error) !== 'contended') throw databaseProblem(error);
    }
    return this.#submit(operation, untilMs);
  }

  #submit(operation: Operation, untilMs: number): Promise<Arrival> {
    const { queue, op } = operation;
    if (this.#lanes.has(laneOf(operation))) return this.#contend(operation);
    const turn = this.#turns.wait(queue, op === 'acquire' || op === 'enqueue');
    return turn === undefined ? this.#batcher.submit(operation) : this.#submitAfter(turn, operation, untilMs);
  }

  /** `untilMs` stays the same, however often another call is first. */
  async #submitAfter(turn: Promise<void>, operation: Operation, untilMs: number): Promise<Arrival> {
    const { clock, pendingMax } = this.#options;
    if (this.#turns.waiting > pendingMax) throw new SignalboxError('overloaded', { retryAfterMs: 1000 });
    await new Promise<void>((resolve, reject) => {
      // Told in time also while the call that it waits for hangs.
      const tooLong = () => reject(new SignalboxError('overloaded', { detail: lineNotHad, retryAfterMs: 1000 }));
      const timer = setTimeout(tooLong, Math.max(0, untilMs - clock.monotonicMs()));
      void turn.then(() => {
        clearTimeout(timer);
        resolve();
      });
    });
    return this.#submit(operation, untilMs);
  }

  /** Sends what no other call is about; the rest waits for its turn. */
  async #run(operations: readonly Operation[], sentAtMs: number): Promise<readonly (Arrival | Promise<Arrival>)[]> {
    const taken = new Set<string>();
    const isOurs = ({ queue }: Operation) => {
      if (taken.has(queue)) return true;
      if (!this.#turns.take(queue)) return false;
      taken.add(queue);
      return true;
    };
    const ours = operations.filter(isOurs);
    const untilMs = sentAtMs + this.#options.lineWaitMs;
    const decided = this.#decide(ours, taken, sentAtMs);
    if (ours.length === operations.length) return decided;
    const places = new Map(ours.map((operation, place) => [operation, place]));
    const arrivals = operations.map(async (operation) => {
      const place = places.get(operation);
      const arrival = place === undefined ? await this.#submit(operation, untilMs) : await (await decided)[place];
      if (arrival === undefined) throw new Error('the database did not answer this operation');
      return arrival;
    });
    // What fails before the call is over is told to who asked for it, a little later.
    void Promise.allSettled(arrivals);
    await Promise.allSettled([decided]);
    return arrivals;
  }

  async #decide(
    operations: readonly Operation[],
    queues: ReadonlySet<string>,
    sentAtMs: number,
  ): Promise<readonly (Arrival | Promise<Arrival>)[]> {
    if (operations.length === 0) return [];
    let decisions: readonly Decision[] = [];
    try {
      decisions = await decide(this.#options.db, operations);
      this.#options.news.spread(decisions, sentAtMs);
    } catch (error) {
      if (failureKind(error) !== 'contended') throw databaseProblem(error);
      // One of them met a lock or a deadlock, and all were rolled back. Alone, the others do not suffer for it.
      return operations.map((operation) => this.#contend(operation));
    } finally {
      this.#turns.giveBack(queues, (queue) => decisions.some((d) => d.code === 'held' && d.queue === queue));
    }
    return answers(operations, decisions, sentAtMs).map((arrival, index) => {
      const operation = operations[index];
      return arrival.decision.code === 'line_busy' && operation !== undefined ? this.#contend(operation) : arrival;
    });
  }

  #contend(operation: Operation): Promise<Arrival> {
    return new Promise((resolve, reject) => {
      const untilMs = this.#options.clock.monotonicMs() + this.#options.lineWaitMs;
      const contender: Contender = { operation, untilMs, resolve, reject, isAlone: false };
      const key = laneOf(operation);
      const lane = this.#lanes.get(key);
      if (lane !== undefined) {
        if (lane.length >= this.#options.pendingMax) reject(new SignalboxError('overloaded', { retryAfterMs: 1000 }));
        else lane.push(contender);
        return;
      }
      this.#lanes.set(key, [contender]);
      void this.#serve(key);
    });
  }

  /** One call at a time for this lane, as long as somebody contends for its line or lines. */
  async #serve(key: string): Promise<void> {
    const { clock, db, news, batchMax, onBatch } = this.#options;
    const lane = this.#lanes.get(key) ?? [];
    for (let failures = 0; lane.length > 0;) {
      const contenders = nextContenders(lane, batchMax, clock.monotonicMs());
      if (contenders.length === 0) continue;
      onBatch(contenders.length);
      const operations = contenders.map(({ operation }) => operation);
      const sentAtMs = clock.monotonicMs();
      try {
        const decisions = await decideWaiting(db, operations);
        failures = 0;
        news.spread(decisions, sentAtMs);
        const arrivals = answers(operations, decisions, sentAtMs);
        contenders.forEach(({ resolve, reject }, index) => {
          const arrival = arrivals[index];
          if (arrival === undefined) reject(new Error('the database did not answer this operation'));
          else resolve(arrival);
        });
      } catch (error) {
        if (failureKind(error) !== 'contended') {
          for (const { reject } of contenders) reject(databaseProblem(error));
          continue;
        }
        for (const contender of contenders) contender.isAlone = true;
        lane.unshift(...contenders);
        await sleep(backoffMs(failures++, { firstMs: 20, maxMs: 250 }));
      }
    }
    this.#lanes.delete(key);
  }
}

/** All queues an operation is about. */
function queuesOf(operation: Operation): readonly string[] {
  const also = operation.op === 'acquire' ? (operation.also ?? []) : [];
  return [operation.queue, ...also.map(({ queue }) => queue)];
}

/** What waits for several lines has a lane of its own: one of them may be stuck, and the others' operations go on. */
function laneOf(operation: Operation): string {
  return queuesOf(operation).join('\n');
}

/** What comes into a queue may be the first that does. */
function makesQueues({ op }: Operation): boolean {
  return op === 'acquire' || op === 'enqueue';
}

/** Takes the next of a lane: one that must be alone, or all in front of the next such one. Who waited too long is told. */
function nextContenders(lane: Contender[], batchMax: number, nowMs: number): Contender[] {
  const contenders: Contender[] = [];
  for (let next = lane[0]; next !== undefined && contenders.length < batchMax; next = lane[0]) {
    if (next.untilMs <= nowMs) {
      next.reject(new SignalboxError('overloaded', { detail: lineNotHad, retryAfterMs: 1000 }));
    } else {
      if (next.isAlone && contenders.length > 0) break;
      contenders.push(next);
    }
    lane.shift();
    if (next.isAlone && contenders.length > 0) break;
  }
  return contenders;
}

const lineNotHad = 'The line of this queue was not to be had in time; nothing was done.';

/** Sorts the rows that answer operations into the operations' order. */
function answers(operations: readonly Operation[], decisions: readonly Decision[], sentAtMs: number): Arrival[] {
  const byItem = new Map(decisions.filter(({ item }) => item !== null).map((decision) => [decision.item, decision]));
  return operations.map((operation, index) => {
    const decision = byItem.get(index);
    if (decision === undefined) throw new Error(`no decision for ${operation.op} of ${operation.claim_id}`);
    return { decision, sentAtMs };
  });
}
