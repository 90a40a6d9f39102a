import { isDeepStrictEqual } from 'node:util';
import { type ErrorCode, SignalboxError } from '../protocol/errors.ts';
import type { AppliedFile, MadeByFile } from '../protocol/patterns.ts';
import { madeBy, type Plan, planApply, type PlanOptions, type Step } from './apply-plan.ts';
import type { ApplyTarget } from './apply-target.ts';
import type { QueuesFile } from './queues-file.ts';

export interface ApplyOutcome {
  /** What was done, in order. */
  readonly done: readonly Step[];
  /** What the service did not let happen; the rest was done nevertheless. */
  readonly refused: readonly { readonly step: Step; readonly error: SignalboxError }[];
}

/** Refusals that are about one thing alone, and that no file could know of. */
const aboutOneThing: readonly ErrorCode[] = [
  'queue_in_use',
  'merge_queue_in_use',
  'invalid_settings',
  'version_mismatch',
];
/** Gone already: what was to be done is done. */
const alreadyGone: readonly ErrorCode[] = ['queue_not_found', 'pattern_not_found', 'merge_queue_not_found'];

/** How often an apply begins anew that met another one of the same file. */
const attemptsMax = 5;

/**
 * Brings the service to what the file says: done twice, the second time does nothing. What it is about to make is remembered
 * before it is made, so that no end in the middle makes it forget. Throws `RefusedFileError` before anything is written.
 */
export async function applyFile(file: QueuesFile, target: ApplyTarget, options: PlanOptions): Promise<ApplyOutcome> {
  for (let attempt = 1; ; attempt++) {
    const plan = await planApply(file, target, options);
    const { before } = plan;
    const both = madeBy(file, before.made);
    let remembered: AppliedFile;
    try {
      remembered = await remember(target, before, both);
    } catch (error) {
      // Another replica, or another job, applies the same file just now.
      if (attempt < attemptsMax && error instanceof SignalboxError && error.code === 'version_mismatch') continue;
      throw error;
    }
    const outcome = await perform(plan, target);
    const kept = outcome.refused.flatMap(({ step }) => (step.sign === '-' ? [step] : []));
    // Another one that came in between has remembered more than this one would.
    await remember(target, remembered, withKept(plan.made, before.made, kept)).catch(ignoreNewer);
    return outcome;
  }
}

async function remember(target: ApplyTarget, before: AppliedFile, made: MadeByFile): Promise<AppliedFile> {
  return isDeepStrictEqual(before.made, made) ? before : target.recordApplied(before.label, made, before.version);
}

function ignoreNewer(error: unknown): void {
  if (!(error instanceof SignalboxError && error.code === 'version_mismatch')) throw error;
}

async function perform(plan: Plan, target: ApplyTarget): Promise<ApplyOutcome> {
  const done: Step[] = [];
  const refused: { step: Step; error: SignalboxError }[] = [];
  for (const step of plan.steps) {
    try {
      await step.run(target);
    } catch (error) {
      if (!(error instanceof SignalboxError)) throw error;
      if (aboutOneThing.includes(error.code)) {
        refused.push({ step, error });
        continue;
      }
      if (step.sign !== '-' || !alreadyGone.includes(error.code)) throw error;
    }
    done.push(step);
  }
  return { done, refused };
}

/** What could not be removed is still this file's, for the next time. */
function withKept(made: MadeByFile, before: MadeByFile, kept: readonly Step[]): MadeByFile {
  const names = (what: Step['what']) => kept.filter((step) => step.what === what).map(({ name }) => name);
  const queues = names('queue').map((name) => [name, before.queues[name] ?? []] as const);
  return {
    queues: Object.fromEntries([...Object.entries(made.queues), ...queues].sort(([a], [b]) => (a < b ? -1 : 1))),
    patterns: [...made.patterns, ...names('pattern')].sort(),
    merge_queues: [...made.merge_queues, ...names('merge queue')].sort(),
  };
}

/** One line for people: `~ queue deploy: concurrency_limit 1 → 2`. */
export function stepText({ sign, what, name, differences }: Step): string {
  const tail = differences.length === 0 ? '' : `: ${differences.map(({ text }) => text).join(', ')}`;
  return `${sign} ${what} ${name}${tail}`;
}

const changeOf = { '+': 'made', '~': 'changed', '-': 'removed' } as const;

/** The same for a program. */
export function stepDocument({ sign, what, name, differences }: Step) {
  return {
    change: changeOf[sign],
    what: what === 'merge queue' ? 'merge_queue' : what,
    name,
    settings: differences.map(({ setting, from, to }) => ({ setting, from, to })),
  };
}
