import { describe, expect, it } from 'vitest';
import { AnswerDropper } from '../support/actions-runner/answer-dropper.ts';
import { startTestApp } from '../support/test-app.ts';
import { aToken } from '../support/token-app.ts';
import { freshDatabase } from '../support/database.ts';
import { Builds } from './builds.ts';
import { exampleWorkflow } from './example-workflow.ts';
import { type ServiceParts, aService } from './service.ts';

let service: ServiceParts;
aService({ MERGE_QUEUE_EXPECTED_COUNT: '1' }, (parts) => (service = parts));

const builds = (url = service.replica.url) => Builds.of({ url, token: service.token });

/** Another build that has the lease until its job is cancelled. */
async function taken(queue: Builds) {
  const holder = queue.start({ url: service.replica.url });
  await holder.run.log.line(/^deploying$/);
  return holder;
}

/** A job that does nothing but ask. */
const [acquireStep = {}] = exampleWorkflow('Staging').jobs['staging']?.steps.slice(1, 2) ?? [];

const isAcquire = (path: string) => path.endsWith('/acquire');

describe('a build whose answer is lost', () => {
  it('asks again as the same request and gets the lease it had got', async () => {
    await using dropper = await AnswerDropper.before(service.replica.url);
    let acquires = 0;
    dropper.fate = (path) => (isAcquire(path) && acquires++ === 0 ? 'lose' : 'pass');
    await using queue = await builds(dropper.url);
    const build = queue.start();
    build.finish(0);
    expect(await build.run.ended).toBe('success');
    expect(build.run.log.text).toMatch(/The lease service did not answer \(.*\); again in \d+ s/);
    const asked = dropper.calls.filter(({ path }) => isAcquire(path)).map(({ body }) => body['request_id']);
    expect(asked).toHaveLength(2);
    expect(new Set(asked).size).toBe(1);
    expect(build.run.log.text).toMatch(/^Released: completed$/m);
  });

  it('releases once, however often its answer is lost', async () => {
    await using dropper = await AnswerDropper.before(service.replica.url);
    let releases = 0;
    dropper.fate = (path) => (path.endsWith('/release') && releases++ < 2 ? 'lose' : 'pass');
    await using queue = await builds(dropper.url);
    const build = queue.start();
    build.finish(1);
    expect(await build.run.ended).toBe('failure');
    expect(build.run.log.text).toMatch(/^Released: failure$/m);
    expect(releases).toBe(3);
  });

  it('releases in its post step what it got without knowing, when it is cancelled', async () => {
    await using dropper = await AnswerDropper.before(service.replica.url);
    const arrived = Promise.withResolvers<undefined>();
    dropper.fate = (path) => {
      if (!isAcquire(path) || dropper.calls.length > 1) return 'pass';
      arrived.resolve(undefined);
      return 'keep';
    };
    await using queue = await builds(dropper.url);
    const build = queue.start({ job: { steps: [acquireStep] } });
    await arrived.promise;
    expect(await service.holder(queue)).toEqual({ headSha: build.headSha, status: 'acquired' });
    build.run.cancel();
    expect(await build.run.ended).toBe('cancelled');
    expect(build.run.log.text).toMatch(/asking whether it got the lease\nReleased: cancelled/);
    await service.untilFree(queue);
  });

  it('releases in its release step what it got without knowing, when it is killed', async () => {
    await using dropper = await AnswerDropper.before(service.replica.url);
    const arrived = Promise.withResolvers<undefined>();
    dropper.fate = (path) => {
      if (!isAcquire(path) || dropper.calls.length > 1) return 'pass';
      arrived.resolve(undefined);
      return 'keep';
    };
    await using queue = await builds(dropper.url);
    const build = queue.start();
    await arrived.promise;
    build.run.killStep();
    expect(await build.run.ended).toBe('failure');
    expect(build.run.log.text).toMatch(/^Released: failure$/m);
    await service.untilFree(queue);
  });
});

describe('a release that is cut short', () => {
  it('is made again by the post step, and says the same', async () => {
    await using dropper = await AnswerDropper.before(service.replica.url);
    const arrived = Promise.withResolvers<undefined>();
    let releases = 0;
    dropper.fate = (path) => {
      if (!path.endsWith('/release') || releases++ > 0) return 'pass';
      arrived.resolve(undefined);
      return 'keep';
    };
    await using queue = await builds(dropper.url);
    const build = queue.start();
    build.finish(0);
    await arrived.promise;
    build.run.cancel();
    expect(await build.run.ended).toBe('cancelled');
    expect(build.run.log.text).toMatch(/The job ends \(cancelled\) with the lease: releasing it\nReleased: completed/);
  });
});

describe('a build that waits', () => {
  it('leaves at once when it is cancelled, and holds nobody up', async () => {
    await using queue = await builds();
    const holder = await taken(queue);
    const build = queue.start();
    await build.run.log.line(/pending at position 1|kept out for now/);
    build.run.cancel();
    expect(await build.run.ended).toBe('cancelled');
    expect(build.run.log.text).toContain('##[error]cancelled');
    expect(build.run.log.text).not.toContain('Released');
    holder.finish(0);
    expect(await holder.run.ended).toBe('success');
  });

  it('fails when its time is over, says what becomes of it, and has nothing to release', async () => {
    await using queue = await builds();
    await taken(queue);
    const build = queue.start({ acquire: { timeout_minutes: '0.03' } });
    expect(await build.run.ended).toBe('failure');
    expect(build.run.log.text).toMatch(/##\[error\]No lease within 2 s \(timeout_minutes\).* it forgets this one when/);
    expect(build.run.log.text).toMatch(/##\[notice\]Nothing to release: /);
    expect(build.run.log.text).not.toMatch(/^deploying$/m);
  });

  it('goes on when the service comes back', async () => {
    await using database = await freshDatabase();
    const { token } = await aToken(database, { scope: 'use' });
    const env = { MERGE_QUEUE_EXPECTED_COUNT: '2', MERGE_QUEUE_STABILISATION_MS: '600000' };
    const first = await startTestApp(database, env);
    await using queue = await Builds.of({ url: first.url, token });
    const low = queue.start({ depth: 1 });
    await low.run.log.line(/pending at position 1 of 1/);
    await first[Symbol.asyncDispose]();
    await low.run.log.line(/The lease service did not answer/);

    await using second = await startTestApp(database, { ...env, PORT: new URL(first.url).port });
    expect(second.url).toBe(first.url);
    const high = queue.start({ depth: 2 });
    await high.run.log.line(/^deploying$/);
    high.finish(0);
    expect(await high.run.ended).toBe('success');
    expect(await low.run.ended).toBe('success');
    expect(low.run.steps['lease']?.outputs).toMatchObject({ status: 'completed' });
    expect(low.run.log.text).toMatch(/##\[notice\]Nothing to release: this build was told completed/);
  });
});
