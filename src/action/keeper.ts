import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { KeeperReport, LeaseFolder, LeaseRecord } from './lease-record.ts';
import type { Environment } from './runner.ts';
import { pause } from './time-limit.ts';

/** It looks for the word to stop five times a second; a report later than this is of one that is stuck. */
const stopWithinMs = 3000;

/**
 * Starts the process that renews the lease while the job's other steps run, with the id that the record names. It is no part of the step: it outlives it, and
 * ends when a later step says so, when the job's temporary folder goes, when the runner's process does, after
 * max_hold_minutes, or when the runner cleans up after the job, which it does by RUNNER_TRACKING_ID in the environment.
 */
export function startKeeper(keeper: string, env: Environment): void {
  const args = [join(import.meta.dirname, 'keep-alive.ts'), keeper, `${runnerOf(process.ppid) ?? ''}`];
  spawn(process.execPath, args, {
    detached: true,
    stdio: 'ignore',
    env: { ...env },
    windowsHide: true,
  })
    // Without it the lease has its deadline all the same, and post and release tell that nobody renewed it.
    .on('error', () => undefined)
    .unref();
}

/** Resolves when it has stopped, or is gone already; with what it last said. Undefined: it never ran. */
export async function stopKeeper(
  folder: LeaseFolder,
  { keeper }: Pick<LeaseRecord, 'keeper'>,
): Promise<KeeperReport | undefined> {
  if (keeper === null) return undefined;
  folder.askToStop(keeper);
  const untilMs = performance.now() + stopWithinMs;
  for (;;) {
    const report = folder.readReport(keeper);
    if (report === undefined || report.hasStopped || !isAlive(report.pid) || performance.now() > untilMs) return report;
    await pause(50, AbortSignal.timeout(stopWithinMs + 1000));
  }
}

/**
 * The process that runs the steps of the job, if this is it: one that is killed cleans up nothing. Undefined where it cannot be
 * known: in a container, on another system than Linux, under another runner. A shell between both would be gone with the step.
 */
export function runnerOf(pid: number): number | undefined {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === 'Runner.Worker' ? pid : undefined;
  } catch {
    return undefined;
  }
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}
