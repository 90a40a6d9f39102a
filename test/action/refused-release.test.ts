import { describe, expect, it } from 'vitest';
import { AnswerDropper } from '../support/actions-runner/answer-dropper.ts';
import type { Job } from '../support/actions-runner/workflow.ts';
import { Builds } from './builds.ts';
import { exampleWorkflow } from './example-workflow.ts';
import { type ServiceParts, aService } from './service.ts';

let service: ServiceParts;
aService({ MERGE_QUEUE_EXPECTED_COUNT: '1' }, (parts) => (service = parts));

const isRelease = (path: string) => path.endsWith('/release');
const refused = { status: 403, body: { error: 'Forbidden', error_context: 'the token was withdrawn' } };
const unavailable = { status: 503, headers: { 'retry-after': '100' } };

/** Acquires, does nothing, and releases with each of these, whatever became of the one before. */
function releasing(...statuses: readonly string[]): Job {
  const [acquire] = exampleWorkflow('Staging').jobs['staging']?.steps.slice(1, 2) ?? [];
  const releases = statuses.map((status) => ({
    ...acquire,
    id: `release-${status}`,
    if: 'always()',
    with: { ...acquire?.with, release_with_status: status },
  }));
  return { steps: [{ ...acquire }, ...releases] };
}

/** What releases said, those that did not reach the service included. */
function said({ calls }: AnswerDropper): unknown[] {
  return calls.filter(({ path }) => isRelease(path)).map(({ body }) => body['status']);
}

/** The first so many releases are answered so. */
function firstReleases(dropper: AnswerDropper, ...answers: readonly (typeof refused | typeof unavailable)[]): void {
  const left = [...answers];
  dropper.instead = (path) => (isRelease(path) ? left.shift() : undefined);
}

const release = { timeout_minutes: '0.05' };

describe('a release that the service refused', () => {
  it('is forgotten: a job that is red for it reports no success', async () => {
    await using dropper = await AnswerDropper.before(service.replica.url);
    firstReleases(dropper, refused);
    await using queue = await Builds.of({ url: dropper.url, token: service.token });
    const build = queue.start({ job: releasing('success') });
    expect(await build.run.ended).toBe('failure');
    expect(said(dropper)).toEqual(['success', 'failure']);
    expect(build.run.log.text).toMatch(/##\[error\]Not released: the lease service refuses: 403 .*withdrawn/);
    expect(build.run.log.text).toMatch(/^Released: failure$/m);
    expect(build.run.log.text).not.toContain('Released: completed');
    await service.untilFree(queue);
  });

  it('is not repeated either where it was turned away for too many calls and the job was cancelled', async () => {
    await using dropper = await AnswerDropper.before(service.replica.url);
    firstReleases(dropper, { ...unavailable, status: 429 });
    await using queue = await Builds.of({ url: dropper.url, token: service.token });
    const build = queue.start({ job: releasing('success') });
    await build.run.log.line(/did not answer \(429\); again in 1 min 40 s/);
    build.run.cancel();
    expect(await build.run.ended).toBe('cancelled');
    expect(said(dropper)).toEqual(['success', 'cancelled']);
  });

  it('leaves the next one its own word', async () => {
    await using dropper = await AnswerDropper.before(service.replica.url);
    firstReleases(dropper, refused);
    await using queue = await Builds.of({ url: dropper.url, token: service.token });
    const build = queue.start({ job: releasing('success', 'cancelled') });
    expect(await build.run.ended).toBe('failure');
    expect(said(dropper)).toEqual(['success', 'cancelled']);
    expect(build.run.log.text).toMatch(/^Released: cancelled$/m);
  });
});

describe('a release that may have arrived', () => {
  it('is repeated by the post step, also when a try after it was refused', async () => {
    for (const answers of [[unavailable], [{ ...unavailable, headers: { 'retry-after': '0' } }, refused]]) {
      await using dropper = await AnswerDropper.before(service.replica.url);
      firstReleases(dropper, ...answers);
      await using queue = await Builds.of({ url: dropper.url, token: service.token });
      const build = queue.start({ job: releasing('success'), release });
      expect(await build.run.ended).toBe('failure');
      expect(new Set(said(dropper))).toEqual(new Set(['success']));
      expect(said(dropper)).toHaveLength(answers.length + 1);
      expect(build.run.log.text).toMatch(/^Released: completed$/m);
    }
  });

  it('does not speak for a later step that says something else', async () => {
    await using dropper = await AnswerDropper.before(service.replica.url);
    firstReleases(dropper, unavailable);
    await using queue = await Builds.of({ url: dropper.url, token: service.token });
    const build = queue.start({ job: releasing('success', 'failure'), release });
    expect(await build.run.ended).toBe('failure');
    expect(said(dropper)).toEqual(['success', 'failure']);
    expect(build.run.log.text).toMatch(/^Released: failure$/m);
  });

  it('is named where it had arrived and a later step says something else', async () => {
    await using dropper = await AnswerDropper.before(service.replica.url);
    let releases = 0;
    dropper.fate = (path) => (isRelease(path) && releases++ === 0 ? 'lose' : 'pass');
    dropper.instead = (path) =>
      isRelease(path) && releases === 1 && said(dropper).length === 2 ? unavailable : undefined;
    await using queue = await Builds.of({ url: dropper.url, token: service.token });
    const build = queue.start({ job: releasing('success', 'failure'), release });
    expect(await build.run.ended).toBe('failure');
    expect(said(dropper)).toEqual(['success', 'success', 'failure']);
    expect(build.run.log.text).toMatch(/##\[error\]The lease was lost .*an earlier release, success, may have arrived/);
  });
});
