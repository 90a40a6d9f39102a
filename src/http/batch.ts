import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Caller } from '../protocol/access.ts';
import type { CallContext, Coordinator } from '../protocol/coordinator.ts';
import type { SignalboxError } from '../protocol/errors.ts';
import { batchableOf, checked, type OperationAnswer } from './batch-operations.ts';
import { BatchTally } from './batch-tally.ts';
import { elementTexts, memberText } from './member-text.ts';
import { problemWithoutSecrets, toSignalboxError } from './problem.ts';

const operationsPerTurn = 100;

export interface BatchOptions {
  readonly coordinator: Coordinator;
  readonly log: Logger;
  readonly caller: Caller;
  readonly call: CallContext;
  /** The JSON text of the whole body. */
  readonly bodyText: string;
}

/** One batch being done: each of its operations is answered as the single call would be, whatever becomes of the others. */
export class Batch {
  readonly tally = new BatchTally();
  readonly #options: BatchOptions;
  /** A failure that met many operations is one occurrence: one line in the log, one instance in their answers. */
  readonly #failures = new Map<unknown, SignalboxError>();
  #texts: readonly string[] | undefined;

  constructor(options: BatchOptions) {
    this.#options = options;
  }

  /**
   * One answer each, in order. Up to a hundred are checked and handed on to be decided in one turn of the event loop, so that
   * they go to the database together; more would keep everybody else waiting while they are checked.
   */
  async answers(operations: readonly unknown[]): Promise<OperationAnswer[]> {
    const answers: Promise<OperationAnswer>[] = [];
    for (const [index, element] of operations.entries()) {
      if (index > 0 && index % operationsPerTurn === 0) await nextTurn();
      answers.push(this.#answer(element, index));
    }
    return Promise.all(answers);
  }

  async #answer(element: unknown, index: number): Promise<OperationAnswer> {
    const { coordinator, caller, call } = this.#options;
    let op = 'unknown';
    let answer: OperationAnswer;
    try {
      const batchable = batchableOf(element);
      op = batchable.op;
      const operation = checked(element, batchable, caller);
      if (batchable.needs.scope === 'admin') this.tally.administers(operation.queue);
      answer = await batchable.run(coordinator, operation as never, call, () => this.#textOf(index));
    } catch (error) {
      const problem = this.#problem(error);
      answer = { status: problem.status, body: problemWithoutSecrets(problem) };
    }
    this.tally.count(op, answer.status);
    return answer;
  }

  /** The JSON text of one element. */
  #textOf(index: number): string {
    this.#texts ??= elementTexts(memberText(this.#options.bodyText, 'operations') ?? '');
    return this.#texts[index] ?? '';
  }

  #problem(thrown: unknown): SignalboxError {
    let problem = this.#failures.get(thrown);
    if (problem !== undefined) return problem;
    problem = toSignalboxError(thrown);
    if (problem.code === 'internal_error') {
      this.#failures.set(thrown, problem);
      this.#options.log.error(
        { err: problem.cause ?? problem, instance: problem.extra['instance'], route: '/v1/batch' },
        'an operation of a batch met a defect',
      );
    }
    return problem;
  }
}
