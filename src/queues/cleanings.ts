import type { TakerRoom, TakerSeat } from '../notifier/taker-room.ts';
import type { CleanBody, CleaningLease } from '../protocol/cleaning.ts';
import type { CallContext } from '../protocol/coordinator.ts';
import type { QueueName } from '../protocol/ids.ts';
import { backoffMs } from '../runtime/backoff.ts';
import type { Clock } from '../runtime/clock.ts';
import { Pause } from '../runtime/pause.ts';
import { clean } from '../store/cleanings.ts';
import type { Database } from '../store/database.ts';
import type { Decision } from '../store/decisions.ts';
import { failureKind } from '../store/failures.ts';
import { heldClaim, refusal } from './answers.ts';
import { databaseProblem } from './database-problem.ts';
import type { DecisionDesk } from './decision-desk.ts';
import { giveBack } from './give-back.ts';
import type { News } from './news.ts';
import { hasHungUp } from './takes.ts';

export interface CleaningsOptions {
  readonly db: Database;
  readonly clock: Clock;
  readonly news: News;
  readonly decisions: DecisionDesk;
  readonly cleaners: TakerRoom;
  /** How long a busy line is tried for before the call is refused. */
  readonly lineWaitMs: number;
  readonly onError: (error: unknown) => void;
}

interface Given {
  readonly decision: Decision;
  readonly sentAtMs: number;
}

/** Gives dirty slots to cleaners. */
export class Cleanings {
  readonly #options: CleaningsOptions;

  constructor(options: CleaningsOptions) {
    this.#options = options;
  }

  /**
   * Resolves with at least one slot as soon as there is one, with none when `wait_ms` is over. A client that has hung up by
   * then gets nothing: what it was given is dirty again.
   */
  async clean(
    queue: QueueName,
    body: CleanBody,
    context: CallContext,
  ): Promise<{ readonly claims: readonly CleaningLease[] }> {
    // Before the database is asked: what becomes dirty in between is a call.
    using seat = body.wait_ms > 0 ? this.#options.cleaners.enter({ queue }) : undefined;
    let given: readonly Given[] = [];
    do {
      if (context.signal.aborted) break;
      given = await this.#cleanNow(queue, body, context);
    } while (given.length === 0 && (await this.#isCalled(seat, body, context)));
    if (hasHungUp(context)) {
      // What cannot be given back is dirty again when its lease runs out.
      await giveBack(this.#options, given, body.request_id);
      context.signal.throwIfAborted();
    }
    return {
      claims: given.map((one) => heldClaim(one, context.receivedAtMs) as CleaningLease),
    };
  }

  async #isCalled(seat: TakerSeat | undefined, body: CleanBody, context: CallContext): Promise<boolean> {
    if (seat === undefined) return false;
    const timeoutMs = body.wait_ms - (this.#options.clock.monotonicMs() - context.receivedAtMs);
    return seat.wait({ timeoutMs, signal: context.signal });
  }

  async #cleanNow(queue: QueueName, body: CleanBody, context: CallContext): Promise<readonly Given[]> {
    const { db, clock, news, cleaners, lineWaitMs } = this.#options;
    const untilMs = clock.monotonicMs() + lineWaitMs;
    for (let failures = 0; ; failures++) {
      const sentAtMs = clock.monotonicMs();
      let decisions: readonly Decision[];
      try {
        decisions = await clean(db, { ...body, queue, ttl_ms: body.ttl_ms, request_id: body.request_id });
      } catch (error) {
        if (failureKind(error) !== 'contended' || clock.monotonicMs() >= untilMs) throw databaseProblem(error);
        await new Pause().wait(backoffMs(failures, { firstMs: 5, maxMs: 100 }), context.signal);
        continue;
      }
      news.spread(
        decisions.filter(({ code }) => code !== 'served'),
        sentAtMs,
      );
      const end = decisions.find(({ item, code }) => item === 0 && code !== 'cleaning');
      // A queue that does not exist is none that is clean: its name was mistyped, or it is not made yet.
      if (end !== undefined && end.code !== 'served') throw refusal(end);
      // Whoever waits for the rest of them is not to wait for a watch.
      if (end?.body?.['more'] === true) cleaners.call(queue);
      return decisions.filter(({ code }) => code === 'cleaning').map((decision) => ({ decision, sentAtMs }));
    }
  }
}
