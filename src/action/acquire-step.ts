import { randomUUID } from 'node:crypto';
import { type Acquired, acquire } from './acquire.ts';
import { depthInQueue } from './depth.ts';
import { startKeeper, stopKeeper } from './keeper.ts';
import type { LeaseRecord } from './lease-record.ts';
import { ActionProblem } from './problem.ts';
import { Progress } from './progress.ts';
import type { Environment } from './runner.ts';
import type { Step } from './step.ts';
import { type TimeLimit, inWords, timeLimit } from './time-limit.ts';

/** The step without release_with_status: waits for the lease, and leaves a process behind that keeps it. */
export async function acquireStep(step: Step): Promise<void> {
  const { inputs, group, folder, runner } = step;
  const limit = timeLimit(inputs.timeoutMs, step.cancelled);
  const progress = new Progress(runner);
  try {
    const priority = await priorityOf(step, limit);
    runner.setOutput('priority', `${priority}`);
    runner.info(
      `Build ${group.headSha.slice(0, 8)} of ${group.headRef} asks for the lease of ${group.owner}/${group.repo} ${group.baseRef}, priority ${priority}`,
    );
    const before = folder.readRecord();
    // Asking again keeps the lease as well, and what the keeper of before learns meanwhile may not be true of the next lease.
    if (before?.phase === 'acquired') await stopKeeper(folder, before);
    const record: LeaseRecord = {
      // A job that asks twice is one build with one lease.
      requestId: before === undefined || before.phase === 'ended' ? newRequestId(step.env) : before.requestId,
      priority,
      phase: 'asking',
      isUnsure: before?.phase === 'acquired' || (before?.phase === 'asking' && before.isUnsure),
      fencingToken: null,
      holdTtlMs: inputs.holdTtlMs,
      renewEveryMs: null,
      keeper: null,
      reported: null,
    };
    const outcome = await acquire(record, { service: step.service, folder, limit, progress });
    tell(step, record, outcome, progress.waitedMs);
  } catch (error) {
    step.cancelled.throwIfAborted();
    if (!limit.isOver()) throw error;
    throw new ActionProblem(
      `No lease within ${inWords(inputs.timeoutMs)} (timeout_minutes). The service has no call to take a build back: ` +
        `it forgets this one when it has not asked for the merge queue's ttl, and other builds may wait for it until then.`,
    );
  }
}

function priorityOf(step: Step, limit: TimeLimit): Promise<number> {
  const { inputs, group, runner, env } = step;
  if (inputs.priority !== undefined) return Promise.resolve(inputs.priority);
  const apiUrl = env['GITHUB_API_URL'] ?? 'https://api.github.com';
  return depthInQueue(group, { apiUrl, githubToken: inputs.githubToken, limit, runner });
}

function tell(step: Step, record: LeaseRecord, outcome: Acquired, waitedMs: number): void {
  const { runner, folder, inputs, env } = step;
  const waited = `after ${inWords(waitedMs)}`;
  const known = { ...record, isUnsure: false };
  runner.setOutput('status', outcome.kind);
  runner.setOutput('result', outcome.kind);
  if (outcome.kind === 'completed') {
    folder.writeRecord({ ...known, phase: 'completed' });
    runner.setOutput('stacked_pull_requests', 'null');
    runner.notice(`Completed ${waited}: a build that contains this one has succeeded, so there is nothing left to do.`);
    runner.summarise(`Merge queue lease: **completed** ${waited}, a build that contains this one has succeeded.`);
    return;
  }
  const { fencingToken, stackedPullRequests, renewAfterMs } = outcome;
  const thirdMs = inputs.holdTtlMs / 3;
  const isKept = fencingToken !== undefined;
  const keeper = isKept ? randomUUID() : null;
  folder.writeRecord({
    ...known,
    phase: 'acquired',
    fencingToken: fencingToken ?? null,
    // At a third two renewals may fail. Less than a second is what the input asks for, never what a server does.
    renewEveryMs: isKept ? Math.min(thirdMs, Math.max(1000, renewAfterMs ?? thirdMs)) : null,
    keeper,
  });
  if (keeper !== null) startKeeper(keeper, env);
  const stack = JSON.stringify(stackedPullRequests);
  const token = isKept ? `, fencing token ${fencingToken}` : '';
  runner.setOutput('stacked_pull_requests', stack);
  runner.setOutput('fencing_token', isKept ? `${fencingToken}` : '');
  runner.info(`Acquired ${waited}${token}; pull requests ${stack}`);
  runner.info(
    isKept
      ? `The lease is renewed while this job runs, and lapses ${inWords(inputs.holdTtlMs)} after the last renewal.`
      : 'The service gave no fencing token, so it knows no renewals: the lease is held until it is released.',
  );
  runner.summarise(`Merge queue lease: **acquired** ${waited}, priority ${record.priority}${token}.`);
}

/** Of this attempt of this job; a job of a matrix has the name of its siblings, so something random is in it. */
function newRequestId(env: Environment): string {
  const parts = [env['GITHUB_RUN_ID'], env['GITHUB_RUN_ATTEMPT'], env['GITHUB_JOB']].map((it) => it ?? '');
  return [...parts.map((it) => it.slice(0, 50)), randomUUID()].join('-');
}
