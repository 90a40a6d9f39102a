import { describe, expect, it } from 'vitest';
import { AnswerDropper, type Instead } from '../support/actions-runner/answer-dropper.ts';
import { Builds } from './builds.ts';
import { type ServiceParts, aService } from './service.ts';

let service: ServiceParts;
aService({ MERGE_QUEUE_EXPECTED_COUNT: '1' }, (parts) => (service = parts));

/** A build whose first calls of this kind are answered so. */
async function answered(verb: 'acquire' | 'release', instead: Instead, times = Infinity) {
  const dropper = await AnswerDropper.before(service.replica.url);
  const of = (path: string) => path.endsWith(`/${verb}`);
  const asked = () => dropper.calls.filter(({ path }) => of(path)).length;
  dropper.instead = (path) => (of(path) && asked() <= times ? instead : undefined);
  const queue = await Builds.of({ url: dropper.url, token: service.token });
  return {
    dropper,
    queue,
    asked,
    [Symbol.asyncDispose]: async () => {
      await queue[Symbol.asyncDispose]();
      await dropper[Symbol.asyncDispose]();
    },
  };
}

const acquired = (more: object) => ({
  request: { status: 'acquired' },
  stacked_pull_requests: [{ number: 1 }],
  ...more,
});

describe('an answer that no such service gives', () => {
  it.each([
    { what: 'status', body: { request: { status: 'won\n::error::x' } } },
    { what: 'status', body: { request: { status: 7 } } },
    { what: 'stacked_pull_requests', body: acquired({ stacked_pull_requests: '<b>all</b>' }) },
    { what: 'stacked_pull_requests', body: acquired({ stacked_pull_requests: [{ number: '1' }] }) },
    { what: 'stacked_pull_requests', body: acquired({ stacked_pull_requests: [null] }) },
    { what: 'fencing_token', body: acquired({ fencing_token: '7' }) },
    { what: 'fencing_token', body: acquired({ fencing_token: 1.5 }) },
    { what: 'fencing_token', body: acquired({ fencing_token: 0 }) },
  ])('ends the step, and nothing of it goes further: $what in $body', async ({ what, body }) => {
    await using parts = await answered('acquire', { status: 200, body });
    const { run } = parts.queue.start();
    expect(await run.ended).toBe('failure');
    expect(run.log.text).toMatch(
      new RegExp(
        `##\\[error\\]The lease service cannot be understood: the service at http\\S+ answers with a ${what} `,
      ),
    );
    expect(run.steps['lease']?.outputs).toEqual({ priority: '1' });
    expect(run.summary).toBe('');
    expect(run.log.text).not.toMatch(/^deploying$/m);
  });

  it('ends a release too, and the post step tries once more', async () => {
    await using parts = await answered('release', { status: 200, body: { request: { status: '**gone**' } } }, 1);
    const build = parts.queue.start();
    build.finish(0);
    expect(await build.run.ended).toBe('failure');
    expect(build.run.log.text).toMatch(/##\[error\]Not released: the service at http\S+ answers with a status/);
    expect(build.run.log.text).toMatch(/^Released: completed$/m);
    expect(build.run.summary).not.toContain('gone');
  });

  it('is tried again where it is a page in the place of the service', async () => {
    await using parts = await answered('acquire', { status: 200, body: '<html>wait</html>' }, 1);
    const build = parts.queue.start();
    build.finish(0);
    expect(await build.run.ended).toBe('success');
    expect(parts.asked()).toBe(2);
  });

  it('hands on of the pull requests nothing but the numbers', async () => {
    const body = acquired({ stacked_pull_requests: [{ number: 4, title: 'x' }] });
    await using parts = await answered('acquire', { status: 200, body });
    const build = parts.queue.start();
    await build.run.log.line(/^deploying$/);
    expect(build.run.steps['lease']?.outputs).toMatchObject({ stacked_pull_requests: '[{"number":4}]' });
  });
});

describe('what a server says', () => {
  const commands = ['\n ::set-output name=status::acquired', 'x ##[set-output name=status]acquired'];

  it.each(commands)('is no command to the runner: %j', async (command) => {
    const said = { error: "Couldn't acquire the lock", error_context: command };
    const answers = [
      { status: 503, body: command },
      { status: 409, body: said },
      { status: 400, body: said },
      { status: 200, body: { request: { status: 'pending' }, waiting_for: command } },
    ];
    const played = answers.map(async (instead) => {
      await using parts = await answered('acquire', instead);
      parts.queue.api.failures.push({ status: 502, message: command });
      const limits = { acquire: { timeout_minutes: '0.05' }, release: { timeout_minutes: '0.02' } };
      const { run } = parts.queue.start(limits);
      expect(await run.ended).toBe('failure');
      expect(run.log.text).toContain('name=status');
      expect(run.log.commands.filter(({ name }) => name !== 'error' && name !== 'notice')).toEqual([]);
    });
    await Promise.all(played);
  });

  it.each([
    { status: 503, headers: { 'retry-after': '9999999' } },
    { status: 429, headers: { 'retry-after': '9'.repeat(30) } },
    { status: 409, headers: { 'retry-after': '9999999' }, body: { error_context: 'lease already acquired' } },
    { status: 200, body: { request: { status: 'pending' }, poll_after_ms: 1e15 } },
  ])('makes nobody hammer it: $status $headers $body', async (instead) => {
    await using parts = await answered('acquire', instead);
    const { run } = parts.queue.start({ acquire: { timeout_minutes: '0.05' }, release: { timeout_minutes: '0.001' } });
    expect(await run.ended).toBe('failure');
    // The first, the long poll that tells how things stand, and those that ask in the end what came of it.
    expect(parts.asked()).toBeLessThanOrEqual(4);
    expect(run.log.text).not.toMatch(/again in \d+ h/);
  });
});
