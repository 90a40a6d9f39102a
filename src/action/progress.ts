import type { WaitDetail } from './lease-service.ts';
import type { Runner } from './runner.ts';
import { inWords } from './time-limit.ts';

const atLeastEveryMs = 60_000;

/** Tells how the wait goes: when something changed, and once a minute. */
export class Progress {
  readonly #runner: Runner;
  readonly #startedAtMs = performance.now();
  #lastKey = '';
  #lastAtMs = 0;

  constructor(runner: Runner) {
    this.#runner = runner;
  }

  get waitedMs(): number {
    return performance.now() - this.#startedAtMs;
  }

  /** Whether something changed. */
  pending(wait: WaitDetail): boolean {
    const { position, registered, waitingFor, blockedBy, delaysLeft } = wait;
    return this.#tell(
      JSON.stringify([position, registered, waitingFor, blockedBy?.headSha, delaysLeft]),
      pendingInWords(wait),
    );
  }

  /** Whether something changed. */
  keptOut(why: string): boolean {
    const told =
      why === 'lease already acquired'
        ? 'kept out for now: the builds of an earlier round are not through (lease already acquired)'
        : `this commit is not one that waits (${why}): another run or an earlier attempt of it may have the lease`;
    return this.#tell(why, told);
  }

  unavailable(why: string, againInMs: number): void {
    this.#runner.info(`The lease service did not answer (${why}); again in ${inWords(againInMs)}`);
    this.#lastKey = '';
  }

  #tell(key: string, text: string): boolean {
    const nowMs = performance.now();
    const isNews = key !== this.#lastKey;
    if (!isNews && nowMs - this.#lastAtMs < atLeastEveryMs) return false;
    this.#lastKey = key;
    this.#lastAtMs = nowMs;
    this.#runner.info(`${inWords(this.waitedMs)}: ${text}`);
    return isNews;
  }
}

export function pendingInWords(wait: WaitDetail): string {
  const { position, registered } = wait;
  const place =
    position === undefined ? '' : ` at position ${position}${registered === undefined ? '' : ` of ${registered}`}`;
  const reason = reasonInWords(wait);
  return `pending${place}${reason === '' ? '' : `; ${reason}`}`;
}

function reasonInWords({ waitingFor, windowRemainingMs, delaysLeft, blockedBy }: WaitDetail): string {
  const build = blockedBy === undefined ? 'another build' : buildInWords(blockedBy);
  switch (waitingFor) {
    case undefined:
      return '';
    case 'held': {
      const heldFor = blockedBy?.heldForMs === undefined ? '' : ` for ${inWords(blockedBy.heldForMs)}`;
      return `${build} has had the lease${heldFor}`;
    }
    case 'higher_priority':
      return `${build} is first`;
    case 'stabilisation':
      return windowRemainingMs === undefined
        ? 'waiting whether more builds come'
        : `waiting whether more builds come, ${inWords(windowRemainingMs)} left`;
    case 'delay':
      return delaysLeft === undefined ? 'delayed' : `delayed for ${delaysLeft} more polls`;
    case 'draining':
      return `${build} succeeded, the builds it contains are being told`;
    default:
      return waitingFor;
  }
}

/** gh-readonly-queue/main/pr-12-0123abcd…: #12 (0123abcd, priority 3). */
function buildInWords({ headSha, headRef, priority }: NonNullable<WaitDetail['blockedBy']>): string {
  const number = /\/pr-(\d+)-[^/]*$/.exec(headRef)?.[1];
  return `the build of ${number === undefined ? headRef : `#${number}`} (${headSha.slice(0, 8)}, priority ${priority})`;
}
