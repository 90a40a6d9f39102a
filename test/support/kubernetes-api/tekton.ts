import type { StoredRun } from './objects.ts';
import type { Change, RunStore } from './run-store.ts';

export interface Interval {
  readonly name: string;
  readonly uid: string;
  readonly startedAtMs: number;
  endedAtMs: number;
}

/**
 * What Tekton does with a run: nothing while it is pending; then it goes, for `runMs` or until it is told to finish; a cancelled
 * one ends soon. It records when each went, so that a test judges by what happened and not by what the gate believes.
 */
export class Tekton implements Disposable {
  /** undefined: they go until `finish`. */
  runMs: number | undefined;
  readonly intervals: Interval[] = [];
  readonly #runs: RunStore;
  readonly #stop: () => void;
  readonly #timers = new Set<NodeJS.Timeout>();

  constructor(runs: RunStore, { runMs }: { readonly runMs?: number | undefined } = {}) {
    this.runMs = runMs;
    this.#runs = runs;
    this.#stop = runs.onChange((change) => this.#react(change));
  }

  get going(): readonly string[] {
    return this.intervals.filter(({ endedAtMs }) => endedAtMs === Infinity).map(({ name }) => name);
  }

  /** In the order of their starts. */
  get started(): readonly string[] {
    return this.intervals.map(({ name }) => name);
  }

  get finished(): number {
    return this.intervals.filter(({ endedAtMs }) => endedAtMs !== Infinity).length;
  }

  /** The most that ever went at the same time, of those whose names begin so. */
  peak(prefix = ''): number {
    const edges = this.intervals
      .filter(({ name }) => name.startsWith(prefix))
      .flatMap(({ startedAtMs, endedAtMs }) => [
        { atMs: startedAtMs, by: 1 },
        { atMs: endedAtMs, by: -1 },
      ])
      // An end and a start at one moment do not overlap.
      .sort((a, b) => a.atMs - b.atMs || a.by - b.by);
    let [now, most] = [0, 0];
    for (const { by } of edges) most = Math.max(most, (now += by));
    return most;
  }

  finish(name: string, status: 'True' | 'False' = 'True', namespace = 'ci'): void {
    this.#end(this.#runs.get(name, namespace), status, status === 'True' ? 'Succeeded' : 'Failed');
  }

  [Symbol.dispose](): void {
    this.#stop();
    for (const timer of this.#timers) clearTimeout(timer);
  }

  #react({ type, run }: Change): void {
    if (type === 'DELETED') {
      this.#close(run.metadata.uid);
      return;
    }
    const condition = run.status?.conditions?.[0];
    if (condition?.status === 'True' || condition?.status === 'False') return;
    const asked = run.spec.status;
    if (asked === 'PipelineRunPending') return;
    if (asked !== undefined) this.#soon(run, () => this.#end(this.#now(run), 'False', 'Cancelled'), 5);
    else if (condition === undefined) this.#begin(run);
  }

  #begin(run: StoredRun): void {
    const { name, uid } = run.metadata;
    if (this.intervals.some((interval) => interval.uid === uid)) return;
    // From the moment the bit was cleared: a start is a start, however slow the rest is.
    this.intervals.push({ name, uid, startedAtMs: performance.now(), endedAtMs: Infinity });
    this.#soon(
      run,
      () => {
        const conditions = [{ type: 'Succeeded', status: 'Unknown', reason: 'Running' }];
        if (this.#now(run).status === undefined)
          this.#patch(this.#now(run), { startTime: new Date().toISOString(), conditions });
      },
      1,
    );
    if (this.runMs !== undefined) this.#soon(run, () => this.#end(this.#now(run), 'True', 'Succeeded'), this.runMs);
  }

  #end(run: StoredRun, status: 'True' | 'False', reason: string): void {
    const condition = run.status?.conditions?.[0];
    if (condition?.status === 'True' || condition?.status === 'False') return;
    this.#close(run.metadata.uid);
    this.#patch(run, { completionTime: new Date().toISOString(), conditions: [{ type: 'Succeeded', status, reason }] });
  }

  #close(uid: string): void {
    const interval = this.intervals.find((one) => one.uid === uid && one.endedAtMs === Infinity);
    if (interval !== undefined) interval.endedAtMs = performance.now();
  }

  #now({ metadata }: StoredRun): StoredRun {
    return this.#runs.get(metadata.name, metadata.namespace);
  }

  #patch({ metadata }: StoredRun, status: object): void {
    this.#runs.patch(metadata.namespace, metadata.name, { status });
  }

  /** Later, if the very same run is still there. */
  #soon({ metadata }: StoredRun, act: () => void, ms: number): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      if (this.#runs.find(metadata.namespace, metadata.name)?.metadata.uid === metadata.uid) act();
    }, ms);
    this.#timers.add(timer);
  }
}
