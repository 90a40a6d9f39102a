import type { CallContext } from '../protocol/coordinator.ts';
import { SignalboxError } from '../protocol/errors.ts';
import {
  type MergeAcquire,
  type MergeAnswer,
  type MergeQueueDetail,
  type MergeQueueId,
  type MergeQueuePage,
  type MergeQueueSettings,
  type MergeQueueSettingsChange,
  type MergeQueues,
  type MergeRelease,
  type MergeRenew,
  type MergeRequestView,
  type ProviderView,
  parseMergeQueueName,
} from '../protocol/merge-queue.ts';
import { withProblems } from '../queues/database-problem.ts';
import type { Clock } from '../runtime/clock.ts';
import { isAborted } from '../runtime/pause.ts';
import type { Database } from '../store/database.ts';
import {
  type MergeQueueRow,
  type MergeRequestRow,
  type StoredMergeQueue,
  configureMergeQueue,
  deleteMergeQueue,
  readMergeGrantEnd,
  readMergeQueue,
  readMergeQueueRow,
  readMergeQueues,
  readMergeRequests,
  readStoredMergeQueues,
} from '../store/merge-queues.ts';
import { answerOf, pollEveryMs } from './answers.ts';
import type { Decided, MergeQueueDesk } from './desk.ts';
import { mergeQueueDetail } from './details.ts';
import { registeredMax } from './machine/acquire.ts';
import { providerView } from './provider-view.ts';
import { stateOf } from './stored-state.ts';
import type { WaitingBuilds } from './waiting-builds.ts';

export interface MergeQueueCoordinatorOptions {
  readonly db: Database;
  readonly clock: Clock;
  readonly desk: MergeQueueDesk;
  readonly room: WaitingBuilds;
  readonly defaults: MergeQueueSettings;
  readonly autoCreate: boolean;
  /** What was changed by a call that is not the desk's: those who wait are to look again. */
  readonly onNews: (id: MergeQueueId) => void;
}

/** The original's list knows no pages; it is read in some, so that other calls have their turn in between. */
const providersPerRead = 100;

/** Of the pending builds of each merge queue in a list the first: all of all of them could be a million. */
const requestsInList = 100;

/** A merge queue into which builds come faster than it can be cleared is not deleted. */
const clearAttemptsMax = 20;

/** The verbs of merge queues: each is one call put to the queue's state machine, and acquire may wait for a better answer. */
export class MergeQueueCoordinator implements MergeQueues {
  readonly #options: MergeQueueCoordinatorOptions;

  constructor(options: MergeQueueCoordinatorOptions) {
    this.#options = options;
  }

  async acquire(id: MergeQueueId, call: MergeAcquire, context: CallContext): Promise<MergeAnswer | undefined> {
    const { desk, room, clock } = this.#options;
    const { waitMs, ...asked } = call;
    using seat = waitMs > 0 ? room.enter(id.name) : undefined;
    for (;;) {
      const decided = await desk.submit(id, { verb: 'acquire', ...asked }, { signal: context.signal });
      if (decided === undefined) return undefined;
      const waitForMs = context.receivedAtMs + waitMs - clock.monotonicMs();
      const lookAgainMs = lookAgainAfterMs(decided);
      if (seat === undefined || lookAgainMs === undefined || waitForMs <= 0 || context.signal.aborted || room.isClosed)
        return await this.#explained(id, asked, answerOf(decided, context.receivedAtMs));
      await seat.wait({ timeoutMs: Math.min(waitForMs, lookAgainMs), signal: context.signal });
      // A client that has gone asks no more: a lease given to it now would wait for its deadline.
      if (isAborted(context.signal)) return answerOf(decided, context.receivedAtMs);
    }
  }

  /** Who shows the token of a lease that is over is told how it ended. */
  async #explained(
    id: MergeQueueId,
    { headSha, headRef, priority, fencingToken }: Omit<MergeAcquire, 'waitMs'>,
    answer: MergeAnswer,
  ): Promise<MergeAnswer> {
    if (answer.kind !== 'refused' || answer.refusal !== 'token_mismatch' || fencingToken === null) return answer;
    const end = await this.#endOf(id, headSha, fencingToken);
    if (end === undefined) return answer;
    return end.outcome === 'success'
      ? overAnswer({ headSha, headRef, priority, status: 'completed' })
      : { ...answer, refusal: 'lease_lost', reason: end.outcome ?? end.reason };
  }

  async release(id: MergeQueueId, call: MergeRelease, context: CallContext): Promise<MergeAnswer | undefined> {
    const decided = await this.#options.desk.submit(id, { verb: 'release', ...call });
    if (decided === undefined) return undefined;
    const decidedAnswer = answerOf(decided, context.receivedAtMs);
    if (decidedAnswer.kind !== 'refused') return decidedAnswer;
    // No later try of a release can do better.
    const answer = { ...decidedAnswer, retryAfterMs: null };
    if (call.fencingToken === null) return answer;
    if (answer.refusal !== 'nothing_held' && answer.refusal !== 'not_the_holder' && answer.refusal !== 'token_mismatch')
      return answer;
    const end = await this.#endOf(id, call.headSha, call.fencingToken);
    if (end === undefined) return answer;
    if (end.outcome !== call.outcome)
      return { ...answer, refusal: 'ended_otherwise', reason: end.outcome ?? end.reason };
    const { headSha, headRef, priority, outcome } = call;
    return overAnswer({ headSha, headRef, priority, status: outcome === 'success' ? 'completed' : outcome });
  }

  async renew(id: MergeQueueId, call: MergeRenew, context: CallContext): Promise<MergeAnswer | undefined> {
    const decided = await this.#options.desk.submit(id, { verb: 'renew', ...call });
    if (decided === undefined) return undefined;
    const answer = answerOf(decided, context.receivedAtMs);
    if (answer.kind !== 'refused') return answer;
    const end = await this.#endOf(id, call.headSha, call.fencingToken);
    if (end === undefined) return { ...answer, refusal: 'token_mismatch' };
    return { ...answer, refusal: 'lease_lost', reason: end.outcome ?? end.reason };
  }

  async clear(id: MergeQueueId, actor: string | undefined): Promise<ProviderView | undefined> {
    const decided = await this.#options.desk.submit(id, { verb: 'clear' }, { actor });
    return decided === undefined ? undefined : this.show(id);
  }

  async show(id: MergeQueueId): Promise<ProviderView | undefined> {
    const { db, autoCreate } = this.#options;
    const stored = await withProblems(() => readMergeQueue(db, id.name, 'read'));
    return stored.queue === null && !autoCreate ? undefined : this.#view(id, stored);
  }

  async list(prefix: string): Promise<readonly ProviderView[]> {
    const { db } = this.#options;
    const views: ProviderView[] = [];
    let after = '';
    for (;;) {
      const page = await withProblems(() => readStoredMergeQueues(db, { prefix, after, limit: providersPerRead }));
      for (const { name, queue } of page) {
        const id = parseMergeQueueName(name);
        if (id !== undefined) views.push(this.#view(id, queue));
        after = name;
      }
      if (page.length < providersPerRead) return views;
    }
  }

  async detail(id: MergeQueueId): Promise<MergeQueueDetail> {
    const { db } = this.#options;
    const [row, requests] = await withProblems(() =>
      Promise.all([readMergeQueueRow(db, id.name), readMergeRequests(db, [id.name], registeredMax)]),
    );
    if (row === undefined)
      throw new SignalboxError('merge_queue_not_found', {
        detail: `There is no merge queue ${id.owner}/${id.repo}/${id.baseRef}.`,
      });
    return this.#detailOf(row, requests);
  }

  async page({ prefix, cursor, limit }: { prefix: string; cursor: string; limit: number }): Promise<MergeQueuePage> {
    const { db } = this.#options;
    return withProblems(async () => {
      const rows = await readMergeQueues(db, { prefix, after: cursor, limit: limit + 1 });
      const shown = rows.slice(0, limit);
      const names = shown.map(({ queue }) => queue);
      const requests = Map.groupBy(await readMergeRequests(db, names, requestsInList), ({ queue }) => queue);
      const merge_queues = shown.map((row) => this.#detailOf(row, requests.get(row.queue) ?? []));
      return { merge_queues, next_cursor: rows.length > limit ? (shown.at(-1)?.queue ?? null) : null };
    });
  }

  async configure(
    id: MergeQueueId,
    change: MergeQueueSettingsChange,
    { ifVersion, actor }: { ifVersion: number | undefined; actor: string | undefined },
  ): Promise<MergeQueueDetail> {
    const { db, defaults, onNews } = this.#options;
    const version = await withProblems(() => configureMergeQueue(db, id, change, { defaults, ifVersion, actor }));
    if (version === undefined) {
      const row = await withProblems(() => readMergeQueueRow(db, id.name));
      throw new SignalboxError('version_mismatch', {
        detail: row === undefined ? 'There is no such merge queue.' : 'Its settings have been changed since.',
        extra: { version: row === undefined ? null : Number(row.version) },
      });
    }
    onNews(id);
    return this.detail(id);
  }

  async remove(
    id: MergeQueueId,
    options: { force: boolean; ifVersion: number | undefined; actor: string | undefined },
  ): Promise<void> {
    const { db, desk, onNews } = this.#options;
    const detail = await this.detail(id);
    if (options.ifVersion !== undefined && options.ifVersion !== detail.version)
      throw new SignalboxError('version_mismatch', { extra: { version: detail.version } });
    for (let attempt = 0; ; attempt++) {
      // So that what its builds were is in the history; one that registers in between is cleared too.
      if (options.force) await desk.submit(id, { verb: 'clear' }, { actor: options.actor });
      const outcome = await withProblems(() => deleteMergeQueue(db, id.name, { ...options, force: false }));
      if (outcome === 'deleted') break;
      if (outcome !== 'merge_queue_in_use' || !options.force || attempt >= clearAttemptsMax)
        throw new SignalboxError(outcome);
    }
    onNews(id);
  }

  #view(id: MergeQueueId, stored: StoredMergeQueue): ProviderView {
    const { queue } = stored;
    const settings = queue === null || queue.auto_created ? this.#options.defaults : queue.settings;
    return providerView(id, stateOf(stored), settings);
  }

  /** What nobody configured is set as the defaults are now, whatever was so at its last write. */
  #detailOf(row: MergeQueueRow, requests: readonly MergeRequestRow[]): MergeQueueDetail {
    const detail = mergeQueueDetail(row, requests);
    return row.auto_created ? { ...detail, ...this.#options.defaults } : detail;
  }

  #endOf(id: MergeQueueId, headSha: string, fencingToken: number) {
    return withProblems(() => readMergeGrantEnd(this.#options.db, id.name, headSha, fencingToken));
  }
}

function overAnswer(request: MergeRequestView): MergeAnswer {
  return {
    kind: 'request',
    request,
    stackedPullRequests: null,
    grant: null,
    wait: null,
    waitedMs: 0,
    pollAfterMs: null,
  };
}

/** After how long a waiting call is put again without any news; undefined: its answer is final. */
function lookAgainAfterMs({ answer, settings }: Decided): number | undefined {
  if (answer.kind === 'refused') return answer.refusal === 'lease_taken' ? pollEveryMs(settings) : undefined;
  // A delay is counted in calls of the client: one call uses up one at most.
  if (answer.kind === 'done' || answer.wait === null || answer.usedDelay) return undefined;
  const { windowRemainingMs } = answer.wait;
  return windowRemainingMs === null
    ? pollEveryMs(settings)
    : Math.min(pollEveryMs(settings), Math.max(1, windowRemainingMs));
}
