import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { isAlive, runnerOf } from '../../src/action/keeper.ts';
import { until } from '../support/until.ts';

/** A program that is called as the process of GitHub's runner that runs the steps of a job. */
function runnerWorker(folder: string): ChildProcess {
  const file = join(folder, 'Runner.Worker');
  writeFileSync(file, '#!/bin/sh\nread line\n');
  chmodSync(file, 0o755);
  return spawn(file, { stdio: ['pipe', 'ignore', 'ignore'] });
}

it.runIf(process.platform === 'linux')(
  'the process of the runner is known by its name, and missed when it is killed',
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'signalbox-runner-'));
    const worker = runnerWorker(folder);
    const pid = worker.pid ?? NaN;
    try {
      await until(() => runnerOf(pid) === pid, { what: 'it is known' });
      expect(isAlive(pid)).toBe(true);
      // What runs the steps here is not GitHub's runner, and a shell in between would be gone with the step.
      expect(runnerOf(process.pid)).toBeUndefined();
      expect(runnerOf(0)).toBeUndefined();
    } finally {
      worker.kill('SIGKILL');
      rmSync(folder, { recursive: true });
    }
    await until(() => !isAlive(pid), { what: 'it is gone' });
  },
);
