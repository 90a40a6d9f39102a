import type { EndedClaim } from '../protocol/claims.ts';
import type { Coordinator, DeadLetterWithText, PageRequest } from '../protocol/coordinator.ts';
import type { BlockedPage, BlockedQueue, DeadLettersBody } from '../protocol/dead-letters.ts';
import { SignalboxError } from '../protocol/errors.ts';
import type { ClaimId, QueueName } from '../protocol/ids.ts';
import { JsonText } from '../protocol/json-text.ts';
import { type OperatorBody, payloadBytesPerAnswerMax, type QueuedRun } from '../protocol/runs.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Database } from '../store/database.ts';
import { type BlockerRow, type LetterRow, readBlockers, readDeadLetters } from '../store/dead-letter-reads.ts';
import {
  type LetterChoice,
  type LetterPage,
  type Operator,
  purge,
  redrive,
  retryRun,
  skipRun,
  unblock,
} from '../store/dead-letters.ts';
import { type Decision, rowsPerCall } from '../store/decisions.ts';
import { refusal, withoutInternals } from './answers.ts';
import { databaseProblem } from './database-problem.ts';
import { letterCursor, placeOfCursor } from './letter-cursor.ts';
import type { News } from './news.ts';

export interface DeadLettersOptions {
  readonly db: Database;
  readonly clock: Clock;
  readonly news: News;
}

type LetterVerb = (db: Database, queue: string, choice: LetterChoice, actor: string) => Promise<LetterPage>;

/** The verbs of operators on runs that failed: what is kept of them, and what they stop. */
export class DeadLetters {
  readonly #options: DeadLettersOptions;

  constructor(options: DeadLettersOptions) {
    this.#options = options;
  }

  async list({ queue, prefix, cursor, limit }: PageRequest): ReturnType<Coordinator['listDeadLetters']> {
    const range = queue === undefined ? { prefix } : { queue };
    const after = placeOfCursor(cursor);
    const { rows, more } = await asking(() =>
      readDeadLetters(this.#options.db, range, { after, limit, bytesMax: payloadBytesPerAnswerMax }),
    );
    const last = rows.at(-1);
    return { dead_letters: rows.map(letterView), next_cursor: more && last !== undefined ? letterCursor(last) : null };
  }

  async redrive(queue: QueueName, body: DeadLettersBody): ReturnType<Coordinator['redriveDeadLetters']> {
    const { done, notFound } = await this.#onLetters(redrive, 'redriven', queue, body);
    return { redriven: done, not_found: notFound };
  }

  async purge(queue: QueueName, body: DeadLettersBody): ReturnType<Coordinator['purgeDeadLetters']> {
    const { done, notFound } = await this.#onLetters(purge, 'purged', queue, body);
    return { purged: done, not_found: notFound };
  }

  async listBlocked({ prefix, cursor, limit }: Omit<PageRequest, 'queue'>): Promise<BlockedPage> {
    const { rows, more } = await asking(() => readBlockers(this.#options.db, { prefix, after: cursor, limit }));
    const queues = new Map<string, BlockedQueue>();
    for (const row of rows) {
      const known = queues.get(row.queue) ?? { ...queueOf(row), blocked_by: [] };
      queues.set(row.queue, { ...known, blocked_by: [...known.blocked_by, blockerOf(row)] });
    }
    return { queues: [...queues.values()], next_cursor: more ? (rows.at(-1)?.queue ?? null) : null };
  }

  async unblock(queue: QueueName, body: OperatorBody): ReturnType<Coordinator['unblockQueue']> {
    let unblocked = 0;
    let decisions: readonly Decision[];
    do {
      decisions = await this.#deciding(() => unblock(this.#options.db, queue, operator(body)), unblocked > 0);
      unblocked += Number(answerOf('unblocked', decisions).body?.['unblocked']);
    } while (decisions.some(({ code }) => code === 'next'));
    return { unblocked };
  }

  async retry(queue: QueueName, claimId: ClaimId, body: OperatorBody): Promise<QueuedRun> {
    const decisions = await this.#deciding(() => retryRun(this.#options.db, queue, claimId, operator(body)));
    return withoutInternals(answerOf('retried', decisions)) as unknown as QueuedRun;
  }

  async skip(queue: QueueName, claimId: ClaimId, body: OperatorBody): Promise<EndedClaim> {
    const decisions = await this.#deciding(() => skipRun(this.#options.db, queue, claimId, operator(body)));
    return withoutInternals(answerOf('skipped', decisions)) as unknown as EndedClaim;
  }

  /** Calls of at most `rowsPerCall` letters, one after another: the line is never held for long. */
  async #onLetters(
    verb: LetterVerb,
    doneCode: string,
    queue: QueueName,
    body: DeadLettersBody,
  ): Promise<{ readonly done: number; readonly notFound: ClaimId[] }> {
    const left = [...new Set(body.claim_ids ?? [])];
    const notFound: ClaimId[] = [];
    let done = 0;
    let choice: LetterChoice | undefined =
      body.claim_ids === undefined ? { diedBy: undefined } : { claimIds: left.splice(0, rowsPerCall) };
    while (choice !== undefined) {
      const chosen: LetterChoice = choice;
      let more: LetterPage['more'];
      const decisions = await this.#deciding(async () => {
        const page = await verb(this.#options.db, queue, chosen, body.actor);
        more = page.more;
        return page.decisions;
      }, done > 0);
      const refused = decisions.find(({ code }) => code === 'queue_not_found');
      if (refused !== undefined) throw refusal(refused);
      done += decisions.filter(({ code }) => code === doneCode).length;
      for (const { code, claim_id: id } of decisions) if (code === 'not_found') notFound.push(id as ClaimId);
      choice = left.length > 0 ? { claimIds: left.splice(0, rowsPerCall) } : more;
    }
    return { done, notFound };
  }

  /** `begun`: an earlier page of the same verb is committed, so a later one that was not to be had leaves it half done. */
  async #deciding(call: () => Promise<readonly Decision[]>, begun = false): Promise<readonly Decision[]> {
    const sentAtMs = this.#options.clock.monotonicMs();
    const decisions = await asking(call, begun);
    this.#options.news.spread(decisions, sentAtMs);
    return decisions;
  }
}

async function asking<T>(call: () => Promise<T>, begun = false): Promise<T> {
  try {
    return await call();
  } catch (error) {
    const problem = databaseProblem(error);
    if (!begun || !(problem instanceof SignalboxError) || problem.code !== 'overloaded') throw problem;
    // `overloaded` would say that nothing was done.
    throw new SignalboxError('database_timeout', {
      detail: 'A lock of this queue was not to be had in time; a part was done.',
      retryAfterMs: 1000,
      cause: error,
    });
  }
}

function answerOf(code: string, decisions: readonly Decision[]): Decision {
  const answer = decisions.find(({ item }) => item === 0);
  if (answer === undefined) throw new Error('the database did not answer');
  if (answer.code !== code) throw refusal(answer);
  return answer;
}

function operator({ actor, reason }: OperatorBody): Operator {
  return { actor, reason };
}

function letterView({ payload, ...row }: LetterRow): DeadLetterWithText {
  return { ...row, payload: new JsonText(payload ?? 'null') } as unknown as DeadLetterWithText;
}

function queueOf(row: BlockerRow): Omit<BlockedQueue, 'blocked_by'> {
  const { queue, on_failure: onFailure, since, waiting, delayed } = row;
  return { queue: queue as QueueName, on_failure: onFailure, since, waiting, delayed };
}

function blockerOf(row: BlockerRow): BlockedQueue['blocked_by'][number] {
  const { claim_id: claimId, state, reason, attempts, error, due_at: dueAt } = row;
  return { claim_id: claimId as ClaimId, state, reason, attempts, error, due_at: dueAt };
}
