import type { TakerRoom, TakerSeat } from '../notifier/taker-room.ts';
import type { CallContext, TakenRunWithText } from '../protocol/coordinator.ts';
import { SignalboxError } from '../protocol/errors.ts';
import { JsonText } from '../protocol/json-text.ts';
import { type TakeBody, payloadBytesPerAnswerMax } from '../protocol/runs.ts';
import { backoffMs } from '../runtime/backoff.ts';
import type { Clock } from '../runtime/clock.ts';
import { Pause } from '../runtime/pause.ts';
import type { Database } from '../store/database.ts';
import { ensureQueues, type Decision } from '../store/decisions.ts';
import { failureKind } from '../store/failures.ts';
import type { TakeItem, TakeSource } from '../store/takes.ts';
import { heldClaim, refusal } from './answers.ts';
import { databaseProblem } from './database-problem.ts';
import type { DecisionDesk } from './decision-desk.ts';
import { giveBack } from './give-back.ts';
import type { Served, TakeDesk } from './take-desk.ts';

export interface TakesOptions {
  readonly db: Database;
  readonly clock: Clock;
  readonly decisions: DecisionDesk;
  readonly takeDesk: TakeDesk;
  readonly takers: TakerRoom;
  readonly autoCreateQueues: boolean;
  /** How long a take tries for busy lines before it answers with what it has. */
  readonly lineWaitMs: number;
  readonly onError: (error: unknown) => void;
}

interface Taken {
  readonly decision: Decision;
  readonly sentAtMs: number;
  /** It was given before, to somebody who may be at work on it. */
  readonly isRepeated: boolean;
}

/** Gives runs to workers: page by page up to `max`, and if there are none, when some come. */
export class Takes {
  readonly #options: TakesOptions;

  constructor(options: TakesOptions) {
    this.#options = options;
  }

  /**
   * Resolves with at least one run as soon as there is one, with none when `wait_ms` is over. A client that has hung up by
   * then gets nothing: what was taken for it goes back, and the attempt does not count.
   */
  async take(body: TakeBody, context: CallContext): Promise<{ readonly claims: readonly TakenRunWithText[] }> {
    const { takers } = this.#options;
    const source: TakeSource = body.queue !== undefined ? { queue: body.queue } : { prefix: body.prefix ?? '' };
    using seat = body.wait_ms > 0 ? takers.enter(source) : undefined;
    let taken: readonly Taken[];
    for (;;) {
      taken = await this.#takeNow(body, source, context);
      // Whoever was called asks, also when its time is over: nobody else was called in its place.
      if (taken.length > 0 || !(await this.#isCalled(seat, body, context))) break;
    }
    if (hasHungUp(context)) {
      // What went out with the answer to a repeat meanwhile stays where it is. What cannot be given back goes back by itself when
      // its lease runs out, with one attempt less.
      await giveBack(
        this.#options,
        taken.filter(({ isRepeated }) => !isRepeated),
        body.request_id,
      );
      context.signal.throwIfAborted();
    }
    return {
      claims: taken.map((one) => takenRun(one, context.receivedAtMs)),
    };
  }

  async #isCalled(seat: TakerSeat | undefined, body: TakeBody, context: CallContext): Promise<boolean> {
    if (seat === undefined) return false;
    const timeoutMs = body.wait_ms - (this.#options.clock.monotonicMs() - context.receivedAtMs);
    return seat.wait({ timeoutMs, signal: context.signal });
  }

  /** All there is now, up to `max`. Lines held by others are tried for again while nothing was had. */
  async #takeNow(body: TakeBody, source: TakeSource, context: CallContext): Promise<readonly Taken[]> {
    const { clock, takeDesk, lineWaitMs } = this.#options;
    const untilMs = clock.monotonicMs() + lineWaitMs;
    const taken: Taken[] = [];
    let bytes = payloadBytesPerAnswerMax;
    for (let failures = 0; taken.length < body.max && !context.signal.aborted;) {
      const item = {
        ...source,
        holder: body.holder,
        max: body.max - taken.length,
        ttl_ms: body.ttl_ms,
        request_id: body.request_id,
        continues: taken.length > 0,
        bytes,
      } satisfies TakeItem;
      const served: Served = failures > 0 && 'queue' in item ? await this.#askWaiting(item) : await takeDesk.ask(item);
      if (served.refusal !== undefined) {
        if (this.#isRefused(served.refusal)) throw refusal(served.refusal);
        return taken;
      }
      for (const decision of served.taken) {
        taken.push({ decision, sentAtMs: served.sentAtMs, isRepeated: served.repeated });
        bytes -= Buffer.byteLength(payloadText(decision));
      }
      if (served.repeated) return taken;
      const isMade = served.missing.length > 0 && (await this.#make(served.missing));
      if (taken.length > 0 ? served.taken.length === 0 || !served.more : !served.more && !served.busy && !isMade)
        return taken;
      if (served.taken.length === 0) {
        if (clock.monotonicMs() >= untilMs) return taken;
        // Nothing but lines that others hold, queues that had to be made, or hints that were out of date.
        await new Pause().wait(backoffMs(failures++, { firstMs: 5, maxMs: 100 }), context.signal);
      }
    }
    return taken;
  }

  /** A line that is not to be had within 250 ms is busy, no more. */
  async #askWaiting(item: TakeItem & { readonly queue: string }): Promise<Served> {
    const { clock, takeDesk } = this.#options;
    try {
      return await takeDesk.askWaiting(item);
    } catch (error) {
      if (!(error instanceof SignalboxError && error.code === 'overloaded')) throw error;
      const sentAtMs = clock.monotonicMs();
      return { taken: [], more: false, busy: true, repeated: false, missing: [], refusal: undefined, sentAtMs };
    }
  }

  /** A queue that does not exist has nothing to give; where queues must be made first, that is an error. */
  #isRefused({ code }: Decision): boolean {
    return code !== 'queue_not_found' || !this.#options.autoCreateQueues;
  }

  /** Makes the queues that runs in the inbox wait for; false = queues are not made on first use here. */
  async #make(queues: readonly string[]): Promise<boolean> {
    if (!this.#options.autoCreateQueues) return false;
    try {
      await ensureQueues(this.#options.db, queues);
    } catch (error) {
      // Another replica may be making or deleting it right now.
      if (failureKind(error) !== 'contended') throw databaseProblem(error);
    }
    return true;
  }
}

/** The client hung up; a replica that stops is no hang-up: its client still listens. */
export function hasHungUp({ signal }: CallContext): boolean {
  return signal.aborted && !(signal.reason instanceof SignalboxError);
}

function payloadText({ body }: Decision): string {
  const text = body?.['payload'];
  return typeof text === 'string' ? text : 'null';
}

function takenRun(taken: Taken, receivedAtMs: number): TakenRunWithText {
  const lease = heldClaim(taken, receivedAtMs);
  return {
    ...lease,
    kind: 'run',
    max_attempts: Number(taken.decision.body?.['max_attempts']),
    payload: new JsonText(payloadText(taken.decision)),
  };
}
