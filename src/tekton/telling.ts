import type { WaitingClaim } from '../protocol/claims.ts';
import type { Cluster } from './cluster.ts';
import { claimIdOf } from './claim-name.ts';
import { createEvent, type Occurrence, runEvent } from './run-events.ts';
import type { TrackedRun } from './tracked-run.ts';

/** One line of the gate's log. */
export interface LogLine {
  readonly level: 'debug' | 'info' | 'warn';
  readonly message: string;
  /** `namespace/name`. */
  readonly run?: string;
  readonly queue?: string;
  readonly error?: unknown;
}

export interface TellingOptions {
  readonly cluster: Cluster;
  readonly log: (line: LogLine) => void;
  /** Keeps what is under way until the gate stops. */
  readonly inBackground: (work: Promise<void>) => void;
  readonly signal: AbortSignal;
}

/** What happened, for people: Kubernetes events on the run, and lines of the log. Nothing waits for it. */
export class Telling {
  readonly #options: TellingOptions;
  #isUnreachable = false;

  constructor(options: TellingOptions) {
    this.#options = options;
  }

  queued(tracked: TrackedRun, claim: WaitingClaim): void {
    const where = `position ${claim.position} of ${claim.queue_depth}, ${claim.waiting_for.replaceAll('_', ' ')}`;
    this.#tell(tracked, 'Queued', this.#claim(tracked), `waiting for a place in ${tracked.queue}: ${where}`);
  }

  started(tracked: TrackedRun, token: number): void {
    this.#tell(tracked, 'Started', `${token}`, `started with a place in ${tracked.queue}, fencing token ${token}`);
  }

  startFailed(tracked: TrackedRun, token: number, problem: string): void {
    const text = `could not be started with its place in ${tracked.queue}, which goes on: ${problem}`;
    this.#tell(tracked, 'StartFailed', `${token}`, text);
  }

  leaseLost(tracked: TrackedRun, token: number, reason: string): void {
    const text = `its place in ${tracked.queue} is lost while it runs (${reason}): others may run beside it`;
    this.#tell(tracked, 'LeaseLost', `${token}`, text);
  }

  releaseRequested(tracked: TrackedRun, token: number): void {
    const text = `its place in ${tracked.queue} is asked back through the service; it keeps it until it is done`;
    this.#tell(tracked, 'ReleaseRequested', `${token}`, text);
  }

  recovered(tracked: TrackedRun, token: number): void {
    this.#tell(tracked, 'Recovered', `${token}`, `it runs, and has a place in ${tracked.queue} now: token ${token}`);
  }

  released(tracked: TrackedRun, token: number, outcome: string): void {
    this.#tell(tracked, 'Released', `${token}`, `gave its place in ${tracked.queue} back: ${outcome}`);
  }

  refused(tracked: TrackedRun, problem: string): void {
    this.#tell(tracked, 'Refused', `${this.#claim(tracked)} ${problem}`, `cannot stand in line: ${problem}`);
  }

  claimEnded(tracked: TrackedRun, why: string): void {
    const text = `${why}: it is not asked for again until the decision annotation is removed`;
    this.#tell(tracked, 'ClaimEnded', this.#claim(tracked), text);
  }

  /** The service did not answer; told once until it does. */
  unreachable(error: unknown): void {
    if (!this.#isUnreachable) this.log({ level: 'warn', message: 'no answer of the service; trying on', error });
    this.#isUnreachable = true;
  }

  reached(): void {
    if (this.#isUnreachable) this.log({ level: 'info', message: 'the service answers again' });
    this.#isUnreachable = false;
  }

  log(line: LogLine): void {
    this.#options.log(line);
  }

  #claim({ run, attempt }: TrackedRun): string {
    return claimIdOf(run.uid, attempt);
  }

  #tell({ run, queue, isGone }: TrackedRun, occurrence: Occurrence, key: string, message: string): void {
    const { cluster, signal, inBackground } = this.#options;
    this.log({ level: 'info', message: `${occurrence}: ${message}`, run: `${run.namespace}/${run.name}`, queue });
    if (!isGone) inBackground(createEvent(cluster, run, runEvent(run, occurrence, key, message), signal));
  }
}
