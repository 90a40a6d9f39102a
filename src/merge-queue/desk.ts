import { setTimeout as sleep } from 'node:timers/promises';
import { SignalboxError } from '../protocol/errors.ts';
import type { MergeQueueId, MergeQueueSettings } from '../protocol/merge-queue.ts';
import { databaseProblem } from '../queues/database-problem.ts';
import { backoffMs } from '../runtime/backoff.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Database, Lane } from '../store/database.ts';
import type { Term } from '../store/decisions.ts';
import { type StoredMergeQueue, readMergeQueue, saveMergeQueue } from '../store/merge-queues.ts';
import { endOf, eventOf } from './chronicle.ts';
import type { Answer, Call } from './machine/calls.ts';
import type { MergeQueueEvent } from './machine/events.ts';
import type { MergeQueueState } from './machine/state.ts';
import { step } from './machine/step.ts';
import { changeOf, quarantineEndMs, stateOf } from './stored-state.ts';

export interface MergeQueueDeskOptions {
  readonly db: Database;
  readonly clock: Clock;
  /** What a merge queue made on first use is set to, and what one that nobody configured follows. */
  readonly defaults: MergeQueueSettings;
  /** false: a merge queue that nobody configured is unknown. */
  readonly autoCreate: boolean;
  /** How long a call tries to be decided while others write first. */
  readonly decideWithinMs: number;
  /** Calls that may wait here at once; more are `overloaded`. */
  readonly pendingMax: number;
  /** What was written, after its commit. `nowMs`: the database's time of the decision. */
  readonly onEvents: (id: MergeQueueId, events: readonly MergeQueueEvent[], nowMs: number) => void;
}

export interface Decided {
  readonly answer: Answer;
  readonly settings: MergeQueueSettings;
  /** The database's time of the decision, and this replica's (monotonic) of having asked for it. */
  readonly nowMs: number;
  readonly sentAtMs: number;
}

interface Submitted {
  readonly call: Call;
  readonly actor?: string | undefined;
  readonly signal?: AbortSignal;
  readonly giveUpAtMs: number;
  readonly resolve: (decided: Decided) => void;
  readonly reject: (error: unknown) => void;
}

/** What all calls of one round made of the queue. */
interface Folded {
  readonly state: MergeQueueState;
  readonly answers: readonly Answer[];
  readonly events: readonly { readonly event: MergeQueueEvent; readonly actor: string | undefined }[];
  readonly newestToken: number;
  readonly isChanged: boolean;
}

/** Calls of one queue decided with one write. */
const callsPerRoundMax = 200;

/**
 * Puts calls to the state machines of the merge queues: reads a queue, puts all its waiting calls to it one after another,
 * writes it back if nobody else has meanwhile, else begins again. So of each queue one round at a time is under way here,
 * and between replicas the version decides. Nobody is answered before the commit.
 */
export class MergeQueueDesk {
  readonly #options: MergeQueueDeskOptions;
  readonly #submitted = new Map<string, Submitted[]>();
  #pending = 0;

  constructor(options: MergeQueueDeskOptions) {
    this.#options = options;
  }

  /** Calls that are not answered yet. */
  get pending(): number {
    return this.#pending;
  }

  /**
   * Resolves with the answer, committed. Undefined: there is no such merge queue, and none is made. Throws SignalboxError:
   * `overloaded` if nothing was done, `database_unavailable` or `database_timeout` if that is unknown.
   */
  async submit(
    id: MergeQueueId,
    call: Call,
    options: { readonly actor?: string | undefined; readonly signal?: AbortSignal } = {},
  ): Promise<Decided | undefined> {
    const { clock, pendingMax, decideWithinMs } = this.#options;
    if (this.#pending >= pendingMax)
      throw new SignalboxError('overloaded', { detail: 'Too many calls wait here.', retryAfterMs: 1000 });
    this.#pending++;
    try {
      return await new Promise<Decided>((resolve, reject) => {
        const giveUpAtMs = clock.monotonicMs() + decideWithinMs;
        const submitted: Submitted = { call, ...options, giveUpAtMs, resolve, reject };
        const others = this.#submitted.get(id.name);
        if (others === undefined) {
          this.#submitted.set(id.name, [submitted]);
          void this.#work(id);
        } else others.push(submitted);
      });
    } catch (error) {
      if (error instanceof UnknownMergeQueue) return undefined;
      throw databaseProblem(error);
    } finally {
      this.#pending--;
    }
  }

  /** The reaper's look at a queue. Throws SB001 ('deposed') if the term is over. */
  async tick(id: MergeQueueId, term: Term): Promise<readonly MergeQueueEvent[]> {
    const { db } = this.#options;
    const stored = await readMergeQueue(db, id.name, 'sweep');
    if (stored.queue === null) return [];
    const settings = this.#settingsOf(stored.queue);
    const folded = fold(stored, settings, [{ call: { verb: 'tick' }, actor: undefined }]);
    // Somebody else has written meanwhile: then it is looked at again in the next round.
    return (await this.#save(id, stored, settings, folded, { lane: 'sweep', term }))
      ? folded.events.map(({ event }) => event)
      : [];
  }

  async #work(id: MergeQueueId): Promise<void> {
    for (;;) {
      const waiting = this.#submitted.get(id.name) ?? [];
      if (waiting.length === 0) {
        this.#submitted.delete(id.name);
        return;
      }
      const round = waiting.splice(0, callsPerRoundMax);
      try {
        await this.#decide(id, round);
      } catch (error) {
        for (const { reject } of round) reject(error);
      }
    }
  }

  async #decide(id: MergeQueueId, round: readonly Submitted[]): Promise<void> {
    const { db, clock, autoCreate } = this.#options;
    let open = round;
    for (let attempt = 0; open.length > 0; attempt++) {
      const sentAtMs = clock.monotonicMs();
      const lane = laneOf(open);
      const stored = await readMergeQueue(db, id.name, lane);
      open = withoutHungUp(open);
      if (open.length === 0) return;
      if (stored.queue === null && !autoCreate) throw new UnknownMergeQueue();
      const settings = this.#settingsOf(stored.queue);
      const folded = fold(stored, settings, open);
      if (await this.#save(id, stored, settings, folded, { lane })) {
        open.forEach(({ resolve, reject }, index) => {
          const answer = folded.answers[index];
          if (answer === undefined) reject(new Error('a call of a merge queue was not answered'));
          else resolve({ answer, settings, nowMs: stored.nowMs, sentAtMs });
        });
        return;
      }
      const nowMs = clock.monotonicMs();
      for (const { reject } of open.filter(({ giveUpAtMs }) => giveUpAtMs <= nowMs))
        reject(
          new SignalboxError('overloaded', {
            detail: 'Others wrote to this merge queue each time first; nothing was done.',
            retryAfterMs: 1000,
          }),
        );
      open = open.filter(({ giveUpAtMs }) => giveUpAtMs > nowMs);
      await sleep(backoffMs(attempt, { firstMs: 2, maxMs: 50 }));
    }
  }

  /** A queue that nobody configured is set as the defaults are now. */
  #settingsOf(queue: StoredMergeQueue['queue']): MergeQueueSettings {
    return queue === null || queue.auto_created ? this.#options.defaults : queue.settings;
  }

  /** True = what was decided stands: it is written, or there was nothing to write. */
  async #save(
    id: MergeQueueId,
    stored: StoredMergeQueue,
    settings: MergeQueueSettings,
    folded: Folded,
    { lane, term }: { readonly lane: Lane; readonly term?: Term },
  ): Promise<boolean> {
    const { db, onEvents } = this.#options;
    const { state, events, newestToken } = folded;
    const isNothing = stored.queue === null ? state.pending.length === 0 && events.length === 0 : !folded.isChanged;
    if (isNothing && term === undefined) return true;
    const saved = await saveMergeQueue(
      db,
      id.name,
      {
        ...changeOf(id, state, settings, newestToken),
        has_news: events.length > 0,
        failover_at_ms: stored.failoverAtMs,
        events: events.map(({ event, actor }) => eventOf(event, actor)),
        ended: events.flatMap(({ event, actor }) => endOf(event, actor) ?? []),
      },
      { version: stored.queue?.version ?? 0, decidedAtMs: stored.nowMs, lane, term },
    );
    if (saved && events.length > 0)
      onEvents(
        id,
        events.map(({ event }) => event),
        stored.nowMs,
      );
    return saved;
  }
}

/** Renewals wait for no connection behind calls that may be held up: a late one costs a lease. */
function laneOf(calls: readonly Submitted[]): Lane {
  return calls.every(({ call }) => call.verb === 'renew') ? 'renew' : 'contended';
}

/** A client that has gone is given nothing: its lease would wait for its deadline. One that is told that we stop is there. */
function withoutHungUp(calls: readonly Submitted[]): readonly Submitted[] {
  const hasHungUp = ({ signal }: Submitted) => signal?.aborted === true && !(signal.reason instanceof SignalboxError);
  for (const { reject, signal } of calls.filter(hasHungUp)) reject(signal?.reason);
  return calls.filter((submitted) => !hasHungUp(submitted));
}

function fold(
  stored: StoredMergeQueue,
  settings: MergeQueueSettings,
  calls: readonly Pick<Submitted, 'call' | 'actor'>[],
): Folded {
  const before = stateOf(stored);
  const quarantinedUntilMs = quarantineEndMs(stored, settings);
  let state = before;
  let newestToken = stored.queue?.fencing_token ?? 0;
  const answers: Answer[] = [];
  const events: { event: MergeQueueEvent; actor: string | undefined }[] = [];
  for (const { call, actor } of calls) {
    const nextToken = Math.max(stored.nextToken, newestToken + 1);
    const taken = step(state, call, { settings, nowMs: stored.nowMs, nextToken, quarantinedUntilMs });
    state = taken.state;
    newestToken = Math.max(newestToken, state.grant?.fencingToken ?? 0);
    answers.push(taken.answer);
    events.push(...taken.events.map((event) => ({ event, actor })));
  }
  return { state, answers, events, newestToken, isChanged: state !== before };
}

class UnknownMergeQueue extends Error {
  constructor() {
    super('there is no such merge queue');
    this.name = 'UnknownMergeQueue';
  }
}
