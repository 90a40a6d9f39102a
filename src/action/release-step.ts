import { depthInQueue } from './depth.ts';
import type { Outcome } from './inputs.ts';
import { ActionProblem } from './problem.ts';
import { type HeldLease, type Settled, releaseHeld, settle } from './release.ts';
import type { Step } from './step.ts';
import { type TimeLimit, inWords, timeLimit } from './time-limit.ts';

/** A cancelled job has five minutes left; nothing here may take as long. */
const releaseWithinMs = 4 * 60_000;

/** The step with release_with_status, in the job that acquired or in a later one. */
export async function releaseStep(step: Step, outcome: Outcome): Promise<void> {
  const { inputs, folder, service, runner } = step;
  const limit = timeLimit(Math.min(inputs.timeoutMs, releaseWithinMs), step.cancelled);
  const record = folder.readRecord();
  const settled = await within(limit, step, async () => {
    if (record !== undefined) return settle(folder, record, outcome, { service, runner, limit });
    const { fencingToken } = inputs;
    const priority = await priorityOf(step, limit);
    const isSure = fencingToken !== undefined;
    const held: HeldLease = { kind: 'held', priority, fencingToken, isSure, reported: null };
    return releaseHeld(held, outcome, { service, runner, limit });
  });
  tellSettled(step, settled);
}

/** Throws where the step must be red. */
export function tellSettled({ runner }: Step, settled: Settled): void {
  switch (settled.kind) {
    case 'released':
      runner.setOutput('status', settled.status);
      runner.setOutput('result', settled.status);
      runner.info(`Released: ${settled.status}`);
      runner.summarise(`Merge queue lease: released, **${settled.status}**.`);
      return;
    case 'nothing':
      runner.notice(`Nothing to release: ${settled.why}.`);
      return;
    case 'lost':
      throw new ActionProblem(
        `The lease was lost before it was released (${settled.why}): what this build did may not have been alone.`,
      );
    case 'failed':
      throw new ActionProblem(
        `Not released: ${settled.why}. The lease lapses when it has not been renewed for its time.`,
      );
    default:
      settled satisfies never;
  }
}

/** Turns the end of the time into a result. */
export async function within(limit: TimeLimit, step: Step, work: () => Promise<Settled>): Promise<Settled> {
  try {
    return await work();
  } catch (error) {
    step.cancelled.throwIfAborted();
    if (!limit.isOver()) throw error;
    return { kind: 'failed', why: 'the lease service did not answer in time' };
  }
}

/**
 * A release has to say a priority. What is decided goes by the one of the grant (mq-lease-service stores the new one, and
 * counts by it in a metric), so failing to learn it must not keep the lease.
 */
async function priorityOf(step: Step, limit: TimeLimit): Promise<number> {
  const { inputs, group, runner, env } = step;
  if (inputs.priority !== undefined) return inputs.priority;
  const compareLimit = timeLimit(Math.min(60_000, limit.leftMs() / 2), step.cancelled);
  const apiUrl = env['GITHUB_API_URL'] ?? 'https://api.github.com';
  try {
    return await depthInQueue(group, { apiUrl, githubToken: inputs.githubToken, limit: compareLimit, runner });
  } catch (error) {
    step.cancelled.throwIfAborted();
    const why = error instanceof ActionProblem ? error.message : `no answer within ${inWords(60_000)}`;
    runner.warning(`The priority is not known (${why}); the release says 1`);
    return 1;
  }
}
