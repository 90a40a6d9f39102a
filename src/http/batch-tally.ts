import type { BatchSummary } from './operation.ts';
import type { ObserveBatched } from './request-log.ts';

/** Counts what became of the operations of one batch, so that log and metrics are told once and not a thousand times. */
export class BatchTally {
  readonly #byOp = new Map<string, Map<number, number>>();
  readonly #administered = new Set<string>();
  #operations = 0;
  #failed = 0;
  #worstStatus = 0;

  count(op: string, status: number): void {
    let statuses = this.#byOp.get(op);
    if (statuses === undefined) this.#byOp.set(op, (statuses = new Map<number, number>()));
    statuses.set(status, (statuses.get(status) ?? 0) + 1);
    this.#operations++;
    if (status >= 400) this.#failed++;
    if (status > this.#worstStatus) this.#worstStatus = status;
  }

  /** Somebody who may administer this queue did. */
  administers(queue: string): void {
    this.#administered.add(queue);
  }

  summary(): BatchSummary {
    return {
      operations: this.#operations,
      failed: this.#failed,
      worstStatus: this.#worstStatus,
      administered: [...this.#administered],
    };
  }

  report(observe: ObserveBatched): void {
    for (const [op, statuses] of this.#byOp) for (const [status, count] of statuses) observe(op, status, count);
  }
}
