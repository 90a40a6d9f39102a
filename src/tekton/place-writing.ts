import type { Clock } from '../runtime/clock.ts';
import type { TrackedRun } from './tracked-run.ts';

/** Positions written in one second, of all runs: a line of thousands that moves must not become as many writes. */
const perSecondMax = 10;

/** Says when a run's place in line may be written although nothing else has changed: now and then for each, few at a time. */
export class PlaceWriting {
  readonly #everyMs: number;
  readonly #clock: Clock;
  #secondEndsAtMs = -Infinity;
  #left = perSecondMax;

  constructor(everyMs: number, clock: Clock) {
    this.#everyMs = everyMs;
    this.#clock = clock;
  }

  /** Takes one of the present second's writes, if it says yes. */
  isAllowed({ toldAtMs }: Pick<TrackedRun, 'toldAtMs'>): boolean {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs < toldAtMs + this.#everyMs) return false;
    if (nowMs >= this.#secondEndsAtMs) [this.#secondEndsAtMs, this.#left] = [nowMs + 1000, perSecondMax];
    if (this.#left <= 0) return false;
    this.#left -= 1;
    return true;
  }
}
