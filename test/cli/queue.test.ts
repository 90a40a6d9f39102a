import { beforeEach, describe, expect, it } from 'vitest';
import { anId } from '../support/http-client.ts';
import { oneReplica } from '../support/one-replica.ts';
import { type TestApp, untilWaiting } from '../support/test-app.ts';
import { signalbox, signalboxRun } from '../support/wrapper.ts';

let app: TestApp;
let queue: string;

oneReplica((parts) => ({ replica: app } = parts), { isLed: true });
beforeEach(() => {
  queue = anId('deploy/q');
});

const run = (...args: readonly string[]) => signalboxRun('queue', ...args, '--url', app.url);

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

  it.each([
    [['limit=3'], /limit=3: there is no setting limit\. The settings are concurrency_limit, paused, /],
    [['concurrency_limit'], /concurrency_limit: it must be setting=value\./],
    [['on_full=drop'], /on_full=drop: on_full must be one of refuse, drop_oldest, drop_last\./],
    [['concurrency_limit=many'], /concurrency_limit must be a whole number from 0 to 1000000, or null\./],
    [['paused=1'], /paused must be true or false\./],
    [['rotate_by='], /rotate_by must be text of 1 to 63 characters, or null\./],
    [['max_waiting=1', 'max_waiting=2'], /max_waiting=2: max_waiting is given twice\./],
    [['--inherit', 'limit'], /--inherit: there is no setting limit\. The settings are /],
    [['max_waiting=1', '--inherit', 'max_waiting'], /--inherit: max_waiting is set to a value too/],
  ])('set %j is a usage error that says why, and makes nothing', async (words, told) => {
    const { exitCode, output } = await run('set', queue, ...words);
    expect(output).toMatch(told);
    expect(exitCode).toBe(2);
    expect((await app.client.queue(queue)).status).toBe(404);
  });

  it('set of what only the service can refuse is a usage error too', async () => {
    const { exitCode, output } = await run('set', queue, 'default_ttl_ms=400000');
    expect(output).toBe('signalbox: default_ttl_ms 400000 is longer than max_ttl_ms 300000\n');
    expect(exitCode).toBe(2);
  });

  it.each([['set'], ['show'], ['pause']])(
    '%s of a name that is none says what names are, and exits with 2',
    async (command) => {
      const { exitCode, output } = await run(command, 'a b');
      expect(output).toMatch(
        /'a b' is invalid for argument 'queue'\. queue must be 1 to 200 characters of A-Z a-z 0-9/,
      );
      expect(exitCode).toBe(2);
    },
  );

  it('set with nothing named makes a queue with what its pattern says, once; then there is nothing to set', async () => {
    expect((await run('set', queue)).exitCode).toBe(0);
    const { version } = (await app.client.queue(queue)).body;
    const again = await run('set', queue);
    expect(again.output).toMatch(/^signalbox: nothing to set: name setting=value, or --inherit .*concurrency_limit/);
    expect(again.exitCode).toBe(2);
    expect((await app.client.queue(queue)).body.version).toBe(version);
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
