import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type TestDatabase, freshDatabase } from '../support/database.ts';
import { type TestApp, startTestApp } from '../support/test-app.ts';
import { aToken } from '../support/token-app.ts';
import { Builds } from './builds.ts';

/** Three builds and they start; no window that a test could be too slow or too fast for. */
const settings = { MERGE_QUEUE_EXPECTED_COUNT: '3', MERGE_QUEUE_STABILISATION_MS: '600000' };

let database: TestDatabase;
let replica: TestApp;
let token: string;

beforeAll(async () => {
  database = await freshDatabase();
  ({ token } = await aToken(database, { scope: 'use', prefix: 'merge-queue/acme/' }));
  replica = await startTestApp(database, settings);
});
afterAll(async () => {
  await replica[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

async function threeBuilds(builds: Builds) {
  const [one, two, three] = [1, 2, 3].map((depth) => builds.start({ depth }));
  if (one === undefined || two === undefined || three === undefined) throw new Error('three were started');
  await three.run.log.line(/^deploying$/);
  for (const build of [one, two])
    await build.run.log.line(/pending.*the build of #3 \([0-9a-f]{8}, priority 3\) has had/);
  return { one, two, three };
}

describe("the README's workflow with three builds at once", () => {
  it('completes the builds below the highest when that succeeds', async () => {
    await using builds = await Builds.of({ url: replica.url, token });
    const { one, two, three } = await threeBuilds(builds);
    expect(JSON.parse(three.run.steps['lease']?.outputs['stacked_pull_requests'] ?? '')).toEqual([
      { number: 1 },
      { number: 2 },
      { number: 3 },
    ]);
    expect(three.run.steps['lease']?.outputs).toMatchObject({ status: 'acquired', result: 'acquired', priority: '3' });
    three.finish(0);

    expect(await Promise.all([one, two, three].map(({ run }) => run.ended))).toEqual(['success', 'success', 'success']);
    for (const { run } of [one, two]) {
      expect(run.steps['lease']?.outputs).toMatchObject({ status: 'completed', stacked_pull_requests: 'null' });
      expect(run.log.text).not.toMatch(/^deploying$/m);
      expect(run.log.text).toMatch(/^##\[notice\]Completed after/m);
    }
    expect(three.run.log.text).toMatch(/^Released: completed$/m);
    expect(three.run.summary).toMatch(/acquired.*\n.*released, \*\*completed\*\*/);
  });

  it('goes on with the next one when the highest fails, and lets newcomers in once all are through', async () => {
    await using builds = await Builds.of({ url: replica.url, token });
    const { one, two, three } = await threeBuilds(builds);
    three.finish(1);
    expect(await three.run.ended).toBe('failure');
    expect(three.run.log.text).toMatch(/^Released: failure$/m);

    const next = builds.start({ depth: 3 });
    await next.run.log.line(/kept out for now/);
    await two.run.log.line(/^deploying$/);
    await one.run.log.line(/pending.*the build of #2 .* has had the lease/);
    expect(next.run.log.text).not.toContain('pending');
    two.finish(0);

    expect(await two.run.ended).toBe('success');
    expect(await one.run.ended).toBe('success');
    expect(one.run.steps['lease']?.outputs).toMatchObject({ status: 'completed' });
    await next.run.log.line(/pending at position 1 of 1; waiting whether more builds come/);
    next.run.cancel();
    expect(await next.run.ended).toBe('cancelled');
  });
});
