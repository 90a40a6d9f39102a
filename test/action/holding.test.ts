import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { JobRun } from '../support/actions-runner/job-run.ts';
import { runJobs } from '../support/actions-runner/workflow-run.ts';
import { aToken } from '../support/token-app.ts';
import { until } from '../support/until.ts';
import { type Build, Builds } from './builds.ts';
import { exampleWorkflow } from './example-workflow.ts';
import { type ServiceParts, aService } from './service.ts';

let service: ServiceParts;
aService({ MERGE_QUEUE_EXPECTED_COUNT: '1' }, (parts) => (service = parts));

const builds = () => Builds.of({ url: service.replica.url, token: service.token });

/** The README's job without its last step. */
const noRelease = { steps: exampleWorkflow('Staging').jobs['staging']?.steps.slice(0, -1) ?? [] };

/** What the keep-alive of a running job says of itself. */
function keeperOf(build: Build): { pid: number; renewals: number } {
  return JSON.parse(readFileSync(keeperFile(build), 'utf8')) as { pid: number; renewals: number };
}

function keeperFile({ run }: Build): string {
  return join(run.temp, globSync('signalbox-merge-queue-*/keep-alive-*.json', { cwd: run.temp })[0] ?? '');
}

/** Not one that has ended and that nobody has asked about. */
function runs(pid: number): boolean {
  try {
    return !/^State:\s*Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

describe('a job that holds the lease', () => {
  it('keeps it beyond its time, and leaves nothing running', async () => {
    await using queue = await builds();
    const build = queue.start({ acquire: { hold_ttl_seconds: '3' } });
    await build.run.log.line(/^deploying$/);
    // Each a third of the time: it would have lapsed in between.
    const { pid } = await until(
      () => {
        const keeper = keeperOf(build);
        return keeper.renewals >= 4 && keeper;
      },
      { what: 'four renewals' },
    );
    expect(await service.holder(queue)).toEqual({ headSha: build.headSha, status: 'acquired' });
    build.finish(0);
    expect(await build.run.ended).toBe('success');
    expect(build.run.log.text).toMatch(/^Released: completed$/m);
    expect(build.run.log.text).not.toContain('orphan');
    expect(runs(pid)).toBe(false);
  });

  it('keeps it no longer than max_hold_minutes, and is red then', async () => {
    await using queue = await builds();
    const build = queue.start({ acquire: { hold_ttl_seconds: '1.5', max_hold_minutes: '0.02' } });
    await build.run.log.line(/^deploying$/);
    await until(async () => (await service.holder(queue)) === null, { what: 'the lease has lapsed' });
    build.finish(0);
    expect(await build.run.ended).toBe('failure');
    expect(build.run.log.text).toMatch(/##\[error\].*max_hold_minutes/);
  });

  it('releases in its post step when it is cancelled', async () => {
    await using queue = await builds();
    const build = queue.start({ job: noRelease });
    await build.run.log.line(/^deploying$/);
    build.run.cancel();
    expect(await build.run.ended).toBe('cancelled');
    expect(build.run.log.text).toMatch(/The job ends \(cancelled\) with the lease: releasing it\nReleased: cancelled/);
    expect(build.run.log.text).not.toContain('orphan');
    await service.untilFree(queue);
  });

  it('releases in its post step when it failed', async () => {
    await using queue = await builds();
    const build = queue.start({ job: noRelease });
    build.finish(1);
    expect(await build.run.ended).toBe('failure');
    expect(build.run.log.text).toMatch(/^Released: failure$/m);
    await service.untilFree(queue);
  });

  it('releases a success in its post step where it is told to', async () => {
    await using queue = await builds();
    const build = queue.start({ job: noRelease, acquire: { post_release: 'always' } });
    build.finish(0);
    expect(await build.run.ended).toBe('success');
    expect(build.run.log.text).toMatch(/^Released: completed$/m);
  });

  it('leaves it held after a success, with its whole time once more and nobody to renew it', async () => {
    await using queue = await builds();
    const build = queue.start({ job: noRelease, acquire: { hold_ttl_seconds: '3' } });
    await build.run.log.line(/^deploying$/);
    const { pid } = await until(() => keeperOf(build), { what: 'the keep-alive reports' });
    build.finish(0);
    expect(await build.run.ended).toBe('success');
    expect(build.run.log.text).toMatch(
      /##\[notice\]This job leaves the lease held .* within 3 s .*fencing token \d+\./,
    );
    expect(runs(pid)).toBe(false);
    expect(await service.holder(queue)).toEqual({ headSha: build.headSha, status: 'acquired' });
    await service.untilFree(queue);
  });

  it('leaves it held, failed or not, where it is told never to release', async () => {
    await using queue = await builds();
    const build = queue.start({ job: noRelease, acquire: { hold_ttl_seconds: '1', post_release: 'never' } });
    build.finish(1);
    expect(await build.run.ended).toBe('failure');
    expect(build.run.log.text).not.toContain('Released');
    await service.untilFree(queue);
  });

  it('is red when its keep-alive was killed and the lease lapsed', async () => {
    await using queue = await builds();
    const build = queue.start({ acquire: { hold_ttl_seconds: '3' } });
    await build.run.log.line(/^deploying$/);
    const { pid } = await until(() => keeperOf(build), { what: 'the keep-alive reports' });
    process.kill(pid, 'SIGKILL');
    await service.untilFree(queue);
    build.finish(0);
    expect(await build.run.ended).toBe('failure');
    expect(build.run.log.text).toMatch(/##\[error\]The lease was lost before it was released \(.*expired\)/);
  });

  it('is red when the lease was taken from it, by release step or post step', async () => {
    const admin = await aToken(service.database, { scope: 'admin' });
    for (const job of [undefined, { ...noRelease }]) {
      await using queue = await builds();
      const build = queue.start({ ...(job === undefined ? {} : { job }), acquire: { hold_ttl_seconds: '3' } });
      await build.run.log.line(/^deploying$/);
      const clear = () =>
        fetch(`${service.replica.url}/merge-queue/${queue.repository}/main`, {
          method: 'DELETE',
          headers: { authorization: `Bearer ${admin.token}` },
        });
      await until(async () => (await clear()).status === 200, { what: 'the merge queue is cleared' });
      await until(() => readFileSync(keeperFile(build), 'utf8').includes('"hasStopped":true'), {
        what: 'the keep-alive learns of it',
      });
      build.finish(0);
      expect(await build.run.ended).toBe('failure');
      expect(build.run.log.text).toMatch(/##\[error\]The lease was lost before it was released/);
    }
  });
});

describe('a job that asks twice', () => {
  const [acquire = {}] = noRelease.steps.slice(1, 2);
  const [release = {}] = exampleWorkflow('Staging').jobs['staging']?.steps.slice(-1) ?? [];
  const waitsFor = (name: string) => ({
    run: `echo reached ${name}; until [ -e "$RUNNER_TEMP/${name}" ]; do sleep 0.05; done`,
  });
  const job = { steps: [acquire, waitsFor('first'), { ...acquire, id: 'again' }, waitsFor('second'), release] };
  const go = ({ run }: Build, name: string) => writeFileSync(join(run.temp, name), '');
  /** Each keep-alive, by its pid, with what it says. */
  const keepers = ({ run }: Build) =>
    globSync('signalbox-merge-queue-*/keep-alive-*.json', { cwd: run.temp }).map(
      (path) => JSON.parse(readFileSync(join(run.temp, path), 'utf8')) as { pid: number; lost: string | null },
    );

  it('has one lease and one keep-alive, the last', async () => {
    await using queue = await builds();
    const build = queue.start({ job, acquire: { hold_ttl_seconds: '3' } });
    await build.run.log.line(/^reached first$/);
    const { pid } = await until(() => keeperOf(build), { what: 'the keep-alive reports' });
    go(build, 'first');
    await build.run.log.line(/^reached second$/);
    expect(runs(pid)).toBe(false);
    await until(() => keepers(build).length === 2, { what: 'the second keep-alive reports' });
    expect(keepers(build).filter((keeper) => runs(keeper.pid))).toHaveLength(1);
    const { lease, again } = build.run.steps;
    expect(again?.outputs['fencing_token']).toBe(lease?.outputs['fencing_token']);
    go(build, 'second');
    expect(await build.run.ended).toBe('success');
    expect(build.run.log.text).toMatch(/^Released: completed$/m);
    expect(build.run.log.text).not.toContain('orphan');
  });

  it('is told nothing of a lease before by a keep-alive that is stuck', async () => {
    await using queue = await builds();
    const build = queue.start({ job, acquire: { hold_ttl_seconds: '3' } });
    await build.run.log.line(/^reached first$/);
    const { pid } = await until(() => keeperOf(build), { what: 'the keep-alive reports' });
    process.kill(pid, 'SIGSTOP');
    await service.untilFree(queue);
    go(build, 'first');
    await build.run.log.line(/^reached second$/);
    process.kill(pid, 'SIGCONT');
    await until(() => !runs(pid), { what: 'the first keep-alive ends' });
    go(build, 'second');
    expect(await build.run.ended).toBe('success');
    expect(build.run.log.text).toMatch(/^Released: completed$/m);
  });

  it('holds its lease still when it asks in vain the second time', async () => {
    await using queue = await builds();
    const refused = { ...acquire, id: 'again', with: { ...acquire.with, token: 'wrong-token-wrong' } };
    const build = queue.start({ job: { steps: [acquire, refused] } });
    expect(await build.run.ended).toBe('failure');
    expect(build.run.log.text).toMatch(/The lease service refuses: 401/);
    expect(build.run.log.text).toMatch(/asking whether it got the lease\nReleased: failure/);
    await service.untilFree(queue);
  });
});

describe("the README's workflow of three jobs", () => {
  const workflow = exampleWorkflow('Staging in three jobs');

  it.each([
    { exitCode: 0, results: ['success', 'success', 'success'], released: 'completed' },
    { exitCode: 1, results: ['success', 'failure', 'success'], released: 'failure' },
  ] as const)('releases in a job of its own: $released', async ({ exitCode, results, released }) => {
    await using queue = await builds();
    const options = queue.prepare(2, { result: exitCode });
    const { lease, deploy, release } = await runJobs(workflow, options);
    expect([lease, deploy, release].map((job) => job?.result)).toEqual(results);
    expect(lease?.outputs).toMatchObject({ status: 'acquired', priority: '2' });
    expect(release?.run?.log.text).toMatch(new RegExp(`^Released: ${released}$`, 'm'));
    await service.untilFree(queue);
  });

  it('ends green where there is nothing to release and no token says that there was', async () => {
    await using queue = await builds();
    const job = workflow.jobs['release'] ?? { steps: [] };
    const needs = {
      lease: { result: 'success', outputs: { status: 'acquired' } },
      deploy: { result: 'skipped', outputs: {} },
    } as const;
    const run = new JobRun({ ...queue.prepare(1), name: 'release', job, needs });
    expect(await run.ended).toBe('success');
    expect(run.log.text).toMatch(/##\[notice\]Nothing to release: no lease acquired\./);
  });

  it('does not touch a lease that another build has meanwhile', async () => {
    await using queue = await builds();
    const options = queue.prepare(1, { result: 0 });
    const { lease } = await runJobs({ jobs: { lease: workflow.jobs['lease'] ?? { steps: [] } } }, options);
    expect(lease?.result).toBe('success');
    const release = workflow.jobs['release'] ?? { steps: [] };
    const stale = { ...lease, outputs: { ...lease?.outputs, fencing_token: '999' } };
    const needs = {
      lease: { result: 'success', outputs: stale.outputs },
      deploy: { result: 'success', outputs: {} },
    } as const;
    const run = new JobRun({ ...options, name: 'release', job: release, needs });
    expect(await run.ended).toBe('failure');
    expect(run.log.text).toMatch(/##\[error\]The lease was lost .*fencing token missmatch/);
    expect(await service.holder(queue)).toMatchObject({ status: 'acquired' });
  });
});
