import { type DemandRules, topPriority } from './demand.ts';
import { isMarkedByGate } from './notes.ts';
import { lifeOf, type PipelineRun } from './pipeline-run.ts';
import { asked, told } from './annotations.ts';
import { TrackedRun } from './tracked-run.ts';

/** The runs of a gate, by uid; and what they say about a queue as a whole. */
export class Roster implements Iterable<TrackedRun> {
  readonly #byUid = new Map<string, TrackedRun>();
  readonly #uids = new Map<string, string>();
  readonly #rules: DemandRules;

  constructor(rules: DemandRules) {
    this.#rules = rules;
  }

  get size(): number {
    return this.#byUid.size;
  }

  /** Takes a view of a run over. Whatever had its name before is gone. */
  see(run: PipelineRun): void {
    const key = `${run.namespace}/${run.name}`;
    const before = this.#uids.get(key);
    const replaced = before === undefined || before === run.uid ? undefined : this.#byUid.get(before);
    if (replaced !== undefined) replaced.isGone = true;
    const tracked = this.#byUid.get(run.uid);
    if (tracked !== undefined) tracked.see(run, this.#rules);
    else if (isOurs(run)) {
      this.#byUid.set(run.uid, new TrackedRun(run, this.#rules));
      this.#uids.set(key, run.uid);
    }
  }

  gone({ uid }: PipelineRun): void {
    const tracked = this.#byUid.get(uid);
    if (tracked !== undefined) tracked.isGone = true;
  }

  forget({ run }: TrackedRun): void {
    this.#byUid.delete(run.uid);
    const key = `${run.namespace}/${run.name}`;
    if (this.#uids.get(key) === run.uid) this.#uids.delete(key);
  }

  [Symbol.iterator](): Iterator<TrackedRun> {
    return this.#byUid.values();
  }

  /**
   * Which queues have a going run without a place: lost, never had, or not confirmed since its lease may have run out. One
   * whose place an operator took, or which the service refuses, does not count.
   */
  unplaced(nowMs: number): (queue: string) => 'none' | 'asking' | 'in_line' {
    const queues = new Map<string, 'asking' | 'in_line'>();
    for (const { life, place, queue } of this) {
      if (life !== 'going') continue;
      const isUnconfirmed = place.kind === 'held' && place.window.endsAtMs <= nowMs;
      const isBehindOthers = place.kind === 'waiting' && place.priority < topPriority;
      if (place.kind === 'none' || isUnconfirmed || isBehindOthers) queues.set(queue, 'asking');
      else if (place.kind === 'waiting' && !queues.has(queue)) queues.set(queue, 'in_line');
    }
    return (queue) => queues.get(queue) ?? 'none';
  }
}

/** Whether there is anything to do for a run: it asks for a queue, and it is not over and done with. */
function isOurs(run: PipelineRun): boolean {
  const { annotations } = run;
  if (lifeOf(run) === 'finished') return isMarkedByGate(run) && annotations[told.decision] !== 'released';
  return annotations[asked.queue] !== undefined || isMarkedByGate(run);
}
