import type { SignalboxClient } from '../client/index.ts';
import { type Clock, systemClock } from '../runtime/clock.ts';
import type { Service } from '../runtime/service.ts';
import { Ticker } from '../runtime/ticker.ts';
import { Asks } from './asks.ts';
import type { Cluster } from './cluster.ts';
import type { DemandRules } from './demand.ts';
import { nextStep } from './next-step.ts';
import type { PipelineRun } from './pipeline-run.ts';
import { PlaceWriting } from './place-writing.ts';
import { Renewals } from './renewals.ts';
import { Roster } from './roster.ts';
import { Steps } from './steps.ts';
import { type LogLine, Telling } from './telling.ts';
import type { TrackedRun } from './tracked-run.ts';

export interface GateOptions {
  readonly client: SignalboxClient;
  readonly cluster: Cluster;
  readonly rules: DemandRules;
  /** How often the service is asked about claims near the head of their lines. */
  readonly pollMs: number;
  /** A run's position is written this often at most. */
  readonly placeEveryMs: number;
  readonly log: (line: LogLine) => void;
  /** How long a stop waits for what is being written. */
  readonly graceMs?: number;
}

/** How often it is looked for what is due. */
const lookEveryMs = 100;
/** Steps under way at a time. */
const stepsMax = 16;

/**
 * The gate of a cluster's runs: stands in line for them, starts them one by one as they are granted, keeps their leases while
 * they go, and gives the places back when they are done.
 *
 *   pending ──ask──▶ waiting ──granted──▶ held ──start patch──▶ going, renewed ──done or deleted──▶ released
 *                       ▲                  │                      │
 *                       └──── marked, handed back                 └ lease lost ──▶ asks at the head of the line ──▶ going
 *
 * It keeps nothing that is not in the runs or in the service: any number of gates may do this at once, and any may die at any
 * moment. All of them ask under one holder a run, so they share claims and tokens; of two that write, the version decides.
 * Nothing is asked for before all runs have been seen once: those that go come before those that wait. `stop()` gives no
 * place back: leases last for their ttl, in which the next gate goes on with them.
 */
export class Gate implements Service {
  readonly name = 'tekton gate';
  readonly roster: Roster;
  readonly #options: GateOptions;
  readonly #clock: Clock;
  readonly #ticker: Ticker;
  readonly #underWay = new Set<Promise<void>>();
  #parts: { readonly asks: Asks; readonly renewals: Renewals; readonly steps: Steps } | undefined;
  readonly #placeWriting: PlaceWriting;
  #calls = new AbortController();
  #steps = new AbortController();
  #stepsUnderWay = 0;
  #isReady = false;

  constructor(options: GateOptions, clock: Clock = systemClock) {
    this.#options = options;
    this.#clock = clock;
    this.roster = new Roster(options.rules);
    this.#placeWriting = new PlaceWriting(options.placeEveryMs, clock);
    this.#ticker = new Ticker({
      name: this.name,
      periodMs: lookEveryMs,
      firstDelayMs: 0,
      runOnce: async () => {
        this.#look();
        return undefined;
      },
      onError: (error) => options.log({ level: 'warn', message: 'a round of the gate failed', error }),
    });
  }

  async start(): Promise<void> {
    if (this.#parts !== undefined) return;
    const { client, cluster, pollMs, rules, log } = this.#options;
    const clock = this.#clock;
    this.#calls = new AbortController();
    this.#steps = new AbortController();
    const telling = new Telling({
      cluster,
      log,
      signal: this.#steps.signal,
      inBackground: (work) => this.#inBackground(work),
    });
    const renewals = new Renewals({ client, clock, ttlMs: rules.ttlMs, telling });
    this.#parts = {
      asks: new Asks({ client, clock, pollMs, telling }),
      renewals,
      steps: new Steps({ client, cluster, clock, roster: this.roster, renewals, telling }),
    };
    await this.#ticker.start();
  }

  /** Nothing new is begun; what is being written may end, for `graceMs`. No place is given back. */
  async stop(): Promise<void> {
    if (this.#parts === undefined) return;
    this.#parts = undefined;
    await this.#ticker.stop();
    this.#calls.abort();
    const grace = setTimeout(() => this.#steps.abort(), this.#options.graceMs ?? 5000);
    await Promise.all(this.#underWay);
    clearTimeout(grace);
    this.#steps.abort();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  /** A run as it is now. */
  seen(run: PipelineRun): void {
    this.roster.see(run);
    this.#ticker.nudge();
  }

  /** A run that was deleted. */
  gone(run: PipelineRun): void {
    this.roster.gone(run);
    this.#ticker.nudge();
  }

  /** All runs have been seen: work begins. */
  ready(): void {
    this.#isReady = true;
    this.#ticker.nudge();
  }

  /** Begins what is due; nothing here waits. */
  #look(): void {
    if (!this.#isReady || this.#parts === undefined) return;
    const { asks, renewals, steps } = this.#parts;
    for (const call of renewals.begin(this.roster, this.#calls.signal)) this.#inBackground(call);
    this.#takeSteps(steps);
    const asking = asks.begin(this.roster, this.#calls.signal);
    if (asking !== undefined) this.#inBackground(asking);
  }

  #takeSteps(steps: Steps): void {
    const nowMs = this.#clock.monotonicMs();
    const mayTellPlace = (tracked: TrackedRun) => this.#placeWriting.isAllowed(tracked);
    const rules = { nowMs, unplaced: this.roster.unplaced(nowMs), mayTellPlace };
    for (const tracked of [...this.roster]) {
      if (this.#stepsUnderWay >= stepsMax) return;
      if (tracked.isBusy || tracked.stepAtMs > nowMs) continue;
      const step = nextStep(tracked, rules);
      if (step.kind === 'nothing') continue;
      this.#stepsUnderWay += 1;
      this.#inBackground(
        steps.take(tracked, step, this.#steps.signal).finally(() => {
          this.#stepsUnderWay -= 1;
        }),
      );
    }
  }

  #inBackground(work: Promise<void>): void {
    const kept = work.finally(() => {
      this.#underWay.delete(kept);
      this.#ticker.nudge();
    });
    this.#underWay.add(kept);
  }
}
