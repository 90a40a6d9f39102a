import { describe, expect, it } from 'vitest';
import { JobRun } from '../support/actions-runner/job-run.ts';
import { aToken } from '../support/token-app.ts';
import { RawServer } from '../support/raw-server.ts';
import { Builds } from './builds.ts';
import { exampleWorkflow } from './example-workflow.ts';
import { OriginalService } from './original-service.ts';
import { type ServiceParts, aService } from './service.ts';

let service: ServiceParts;
aService({ MERGE_QUEUE_EXPECTED_COUNT: '1' }, (parts) => (service = parts));

const builds = (baseRef = 'main') => Builds.of({ url: service.replica.url, token: service.token, baseRef });

describe('the priority', () => {
  it("is the depth on the tip of the base branch, asked for again while GitHub's trouble may pass", async () => {
    await using queue = await builds('release/1.x');
    queue.api.failures.push(
      { status: 502 },
      { status: 200, cut: true },
      { status: 403, headers: { 'retry-after': '0' }, message: 'You have exceeded a secondary rate limit.' },
      { status: 429, headers: { 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': '1' } },
    );
    const build = queue.start({ depth: 7 });
    build.finish(0);
    expect(await build.run.ended).toBe('success');
    expect(build.run.steps['lease']?.outputs).toMatchObject({ priority: '7' });
    const path = `/repos/${queue.repository}/compare/release%2F1.x...${build.headSha}`;
    expect(queue.api.calls).toEqual(Array(5).fill({ path, authorization: `Bearer ${queue.githubToken}` }));
  });

  it('is at least 1', async () => {
    await using queue = await builds();
    const build = queue.start({ depth: 0 });
    build.finish(0);
    expect(await build.run.ended).toBe('success');
    expect(build.run.steps['lease']?.outputs).toMatchObject({ priority: '1' });
  });

  it('is what the input says, and then GitHub is not asked', async () => {
    await using queue = await builds();
    const build = queue.start({ acquire: { priority: '12' } });
    build.finish(0);
    expect(await build.run.ended).toBe('success');
    expect(build.run.steps['lease']?.outputs).toMatchObject({ priority: '12' });
    expect(queue.api.calls).toEqual([]);
  });

  it.each([
    { status: 401, message: 'Bad credentials' },
    { status: 403, message: 'Resource not accessible by integration' },
    { status: 404, message: 'Not Found' },
  ])('is not guessed where GitHub refuses: $status', async (failure) => {
    await using queue = await builds();
    queue.api.failures.push(failure);
    const build = queue.start();
    expect(await build.run.ended).toBe('failure');
    expect(build.run.log.text).toMatch(
      new RegExp(`##\\[error\\]GitHub does not compare main .*: ${failure.status} ${failure.message}.*contents: read`),
    );
  });
});

describe('what cannot become better', () => {
  it.each([
    { what: 'no URL', url: 'signalbox', token: undefined, told: 'lease_service_url is no http or https URL' },
    {
      what: 'a wrong token',
      url: undefined,
      token: 'wrong-token-wrong',
      told: 'The lease service refuses: 401 Unauthorized',
    },
    { what: 'a wrong path', url: 'path', token: undefined, told: 'The lease service refuses: 404 ' },
  ])('fails at once: $what', async ({ url, token, told }) => {
    await using queue = await builds();
    const build = queue.start({
      ...(url === undefined ? {} : { url: url === 'path' ? `${service.replica.url}/elsewhere` : url }),
      ...(token === undefined ? {} : { token }),
    });
    expect(await build.run.ended).toBe('failure');
    expect(build.run.log.text).toContain(`##[error]`);
    expect(build.run.log.text).toContain(told);
    expect(build.run.log.text).not.toMatch(/^deploying$|again in/m);
  });

  it('fails at once: a token for other merge queues', async () => {
    const { token } = await aToken(service.database, { scope: 'use', prefix: 'merge-queue/others/' });
    await using queue = await builds();
    const build = queue.start({ token });
    expect(await build.run.ended).toBe('failure');
    expect(build.run.log.text).toMatch(/##\[error\]The lease service refuses: 40[13] .*token/);
  });

  it('names everything that is wrong with the inputs', async () => {
    await using queue = await builds();
    const build = queue.start({
      acquire: {
        endpoint: 'http://other',
        auth: 'Basic eDp5',
        hold_ttl_seconds: 'x',
        post_release: 'maybe',
        priority: '0',
      },
    });
    expect(await build.run.ended).toBe('failure');
    for (const told of [
      'lease_service_url and endpoint differ',
      'auth and token are both given',
      'hold_ttl_seconds must be a number',
      'post_release must be one of auto, always, never',
      'priority must be a whole number',
    ])
      expect(build.run.log.text).toContain(told);
  });

  it('says which event it needs', async () => {
    await using queue = await builds();
    const job = exampleWorkflow('Staging').jobs['staging'] ?? { steps: [] };
    const run = new JobRun({ ...queue.prepare(1), name: 'staging', job, event: { pull_request: {} } });
    expect(await run.ended).toBe('failure');
    expect(run.log.text).toContain('works in workflows started by merge_group only');
  });
});

describe('secrets', () => {
  it('are masked before anything is printed, and nothing prints them', async () => {
    await using queue = await builds();
    const basic = `Basic ${Buffer.from(`ci:${service.token}`).toString('base64')}`;
    const auth = { token: '', auth: basic };
    const build = queue.start({ acquire: auth, release: auth });
    build.finish(0);
    expect(await build.run.ended).toBe('success');
    await using refused = await RawServer.start('503');
    const failing = queue.start({
      url: refused.url,
      acquire: { timeout_minutes: '0.02' },
      release: { timeout_minutes: '0.02' },
    });
    expect(await failing.run.ended).toBe('failure');
    const invalid = queue.start({ acquire: { ...auth, token: 'x-secret-x' } });
    expect(await invalid.run.ended).toBe('failure');
    for (const { run } of [build, failing, invalid])
      for (const secret of [service.token, basic.slice(6), queue.githubToken, 'x-secret-x']) {
        expect(run.log.raw).not.toContain(secret);
        expect(run.log.text).not.toContain(secret);
      }
  });
});

describe('with the original service, which knows nothing of ours', () => {
  it('polls every 15 s, and says failure where it knows no cancelled', async () => {
    await using original = await OriginalService.start();
    await using queue = await Builds.of({ url: original.url });
    const build = queue.start();
    await build.run.log.line(/^deploying$/, 25_000);
    expect(original.pollGapsMs).toHaveLength(1);
    expect(original.pollGapsMs[0]).toBeGreaterThan(13_000);
    expect(build.run.steps['lease']?.outputs).toMatchObject({
      status: 'acquired',
      fencing_token: '',
      stacked_pull_requests: '[{"number":1}]',
    });
    build.run.cancel();
    expect(await build.run.ended).toBe('cancelled');
    expect(original.released).toEqual(['cancelled', 'failure']);
    expect(build.run.log.text).toMatch(/^Released: failure$/m);
  });
});
