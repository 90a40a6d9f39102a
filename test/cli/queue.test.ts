import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { anId } from '../support/http-client.ts';
import { startTestApp, type TestApp, untilWaiting } from '../support/test-app.ts';
import { signalbox } from '../support/wrapper.ts';

let database: TestDatabase;
let app: TestApp;
let queue: string;

beforeAll(async () => {
  database = await freshDatabase();
  app = await startTestApp(database);
});
afterAll(async () => {
  await app[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});
beforeEach(() => {
  queue = anId('deploy/q');
});

async function run(...args: readonly string[]): Promise<{ exitCode: number | null; output: string }> {
  await using command = await signalbox(['queue', ...args, '--url', app.url]);
  const { exitCode } = await command.ended;
  return { exitCode, output: command.output };
}

describe('signalbox queue', () => {
  it('set makes and changes a queue, show tells where its settings come from, list has it', async () => {
    const made = await run('set', queue, 'concurrency_limit=3', 'rotate_by=tenant', 'max_wait_ms=600000');
    expect(made).toMatchObject({ exitCode: 0 });
    const named = await run(
      'set',
      queue,
      'rotate_by=5',
      'max_wait_ms=null',
      '--inherit',
      'concurrency_limit',
      '--json',
    );
    expect(JSON.parse(named.output)).toMatchObject({ rotate_by: '5', max_wait_ms: null, concurrency_limit: 1 });
    const { output } = await run('show', queue);
    expect(output).toMatch(/^ +concurrency_limit +1 +default$/m);
    expect(output).toMatch(/^ +rotate_by +5 +local$/m);
    expect((await run('list', '--prefix', queue)).output).toMatch(new RegExp(`^${queue} +1 +0 +0 .* open$`, 'm'));
  });

  it.each([['limit=3'], ['on_full=drop']])('set %s is a usage error and makes nothing', async (word) => {
    expect((await run('set', queue, word)).exitCode).toBe(2);
    expect((await app.client.queue(queue)).status).toBe(404);
  });

  it('pause and resume', async () => {
    await app.client.put(queue, {});
    expect(await run('pause', queue)).toMatchObject({
      exitCode: 0,
      output: `${queue} is open, paused: 0 held, 0 waiting, 0 delayed\n`,
    });
    expect((await app.client.queue(queue)).body.paused).toBe(true);
    expect((await run('resume', queue)).exitCode).toBe(0);
    expect((await app.client.queue(queue)).body.paused).toBe(false);
  });

  it('drain --wait closes, tells what is left, and ends when nobody holds or waits; open takes claims again', async () => {
    const lease = await app.client.hold(queue);
    const polled = app.client.acquire(queue, { claim_id: 'next', wait_ms: 30_000 });
    await untilWaiting(app.client, queue, 1);
    await using command = await signalbox(['queue', 'drain', queue, '--wait', '--url', app.url]);
    await command.line(/1 held, 1 waiting, 0 delayed/);
    expect(await app.client.acquire(queue)).toMatchObject({ status: 409, body: { code: 'queue_closed' } });
    await app.client.release(lease);
    await command.line(/1 held, 0 waiting/);
    const { body } = await polled;
    await app.client.release(body as typeof lease);
    expect((await command.ended).exitCode).toBe(0);
    expect(command.output).toContain(`${queue} is closed: 0 held, 0 waiting, 0 delayed`);
    expect((await run('open', queue)).output).toContain('is open');
    expect(await app.client.acquire(queue)).toMatchObject({ status: 200 });
  });

  it('drain alone closes at once; with --wait and --timeout it exits with 1 if somebody is left', async () => {
    await app.client.hold(queue);
    expect((await run('drain', queue)).output).toBe(`${queue} is closed: 1 held, 0 waiting, 0 delayed\n`);
    expect((await run('drain', queue, '--wait', '--timeout', '300ms')).exitCode).toBe(1);
  });

  it('drain --wait that is interrupted exits with 122, and the queue stays closed; --timeout alone is a usage error', async () => {
    await app.client.hold(queue);
    expect((await run('drain', queue, '--timeout', '1s')).exitCode).toBe(2);
    expect((await app.client.queue(queue)).body.closed).toBe(false);
    await using command = await signalbox(['queue', 'drain', queue, '--wait', '--url', app.url]);
    await command.line(/1 held/);
    expect(await command.terminate()).toMatchObject({ exitCode: 122 });
    expect((await app.client.queue(queue)).body.closed).toBe(true);
  });

  it.each([['pause'], ['drain']])('%s of a queue that is not there exits with 1 and makes none', async (command) => {
    expect(await run(command, queue)).toMatchObject({ exitCode: 1 });
    expect((await app.client.queue(queue)).status).toBe(404);
  });

  it('delete takes one that is idle, and any with --force', async () => {
    await app.client.hold(queue);
    expect((await run('delete', queue)).exitCode).toBe(1);
    expect(await run('delete', queue, '--force')).toMatchObject({ exitCode: 0, output: `deleted ${queue}\n` });
    expect((await app.client.queue(queue)).status).toBe(404);
  });
});
