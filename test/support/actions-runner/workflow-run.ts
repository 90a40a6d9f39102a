import type { Values } from './file-commands.ts';
import { isDue } from './expressions.ts';
import { type JobOptions, JobRun, type Result } from './job-run.ts';
import type { Job, Workflow } from './workflow.ts';

export interface EndedJob {
  readonly result: Result;
  readonly outputs: Values;
  /** Undefined: skipped. */
  readonly run: JobRun | undefined;
}

/** The jobs of a workflow, one after another in the order of the file, each after those it needs. */
export async function runJobs(
  { jobs }: Workflow,
  options: Omit<JobOptions, 'name' | 'job' | 'needs'>,
): Promise<Record<string, EndedJob>> {
  const ended: Record<string, EndedJob> = {};
  for (const [name, job] of Object.entries(jobs)) {
    const needs = Object.fromEntries(neededBy(job).map((needed) => [needed, ended[needed] ?? notRun]));
    const results = Object.values(needs).map(({ result }) => result);
    const functions = {
      always: () => true,
      success: () => results.every((result) => result === 'success'),
      failure: () => results.includes('failure'),
      cancelled: () => results.includes('cancelled'),
    };
    if (!isDue(job.if, { needs }, functions)) {
      ended[name] = notRun;
      continue;
    }
    const run = new JobRun({ ...options, name, job, needs });
    ended[name] = { result: await run.ended, outputs: run.outputs, run };
  }
  return ended;
}

const notRun: EndedJob = { result: 'skipped', outputs: {}, run: undefined };

function neededBy({ needs = [] }: Job): readonly string[] {
  return typeof needs === 'string' ? [needs] : needs;
}
