import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { anId } from '../support/http-client.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';
import { startTestApp, type TestApp, untilWaiting } from '../support/test-app.ts';
import { until } from '../support/until.ts';
import { beatingScript, beatsIn, endsOf, processesOf, runScript, signalbox } from '../support/wrapper.ts';

const program = join(import.meta.dirname, '../../src/main.ts');

let database: TestDatabase;
let app: TestApp;
let directory: string;

beforeAll(async () => {
  database = await freshDatabase();
  app = await startTestApp(database);
  directory = await mkdtemp(join(tmpdir(), 'signalbox-run-'));
});

afterAll(async () => {
  await app[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

describe('not acquired', () => {
  it('exits with 120 where --skip-if-busy meets a taken place, and leaves no claim', async () => {
    const queue = anId('busy');
    await app.client.hold(queue, { ttl_ms: 60_000 });
    await using wrapper = await runScript(app.url, queue, 'echo never', { flags: ['--skip-if-busy'] });
    expect(await wrapper.ended).toMatchObject({ exitCode: 120 });
    expect((await app.client.queue(queue)).body).toMatchObject({ held: 1, waiting: 0 });
  });

  it('holds its places of all queues for the command, which finds them in its environment', async () => {
    const [queue, other] = [anId('own'), anId('other')];
    await app.client.put(other, { concurrency_limit: 2 });
    const flags = ['--also', `${other}:2`, '--weight', '1'];
    await using wrapper = await runScript(app.url, queue, 'echo "also $SIGNALBOX_ALSO"', { flags });
    expect(await wrapper.ended).toMatchObject({ exitCode: 0 });
    expect(wrapper.output).toMatch(new RegExp(`also \\[.*"queue":"${other}".*"weight":2`));
    expect((await app.client.queue(queue)).body.held).toBe(0);
  });

  it('exits with 120 at its wait timeout, and takes the claim out of the line', async () => {
    const queue = anId('patience');
    await app.client.hold(queue, { ttl_ms: 60_000 });
    await using wrapper = await runScript(app.url, queue, 'echo never', { flags: ['--wait-timeout', '500ms'] });
    expect(await wrapper.ended).toMatchObject({ exitCode: 120 });
    expect(wrapper.output).toContain('wait timeout');
    expect((await app.client.queue(queue)).body).toMatchObject({ held: 1, waiting: 0 });
  });

  it('exits with 120 when it has waited for longer than --max-wait, and when the queue is closed', async () => {
    const queue = anId('patience');
    await app.client.hold(queue, { ttl_ms: 60_000 });
    await using patient = await runScript(app.url, queue, 'echo never', { flags: ['--max-wait', '1s'] });
    expect(await patient.ended).toMatchObject({ exitCode: 120 });
    expect(patient.output).toContain('expired (wait_timeout)');
    await app.client.put(queue, { closed: true });
    await using late = await runScript(app.url, queue, 'echo never');
    expect(await late.ended).toMatchObject({ exitCode: 120 });
    expect(late.output).toContain('is closed');
  });

  it.each([
    { verb: 'break', body: { reason: 'test', actor: 'me' }, exitCode: 120 },
    { verb: 'cancel', body: {}, exitCode: 122 },
  ])('exits with $exitCode when somebody else ends the waiting claim by $verb', async ({ verb, body, exitCode }) => {
    const queue = anId('ended');
    await app.client.hold(queue, { ttl_ms: 60_000 });
    await using wrapper = await runScript(app.url, queue, 'echo never', { flags: ['--claim-id', 'mine'] });
    await untilWaiting(app.client, queue, 1);
    await app.client.ask('POST', `/v1/queues/${queue}/claims/mine/${verb}`, body);
    expect(await wrapper.ended).toMatchObject({ exitCode });
  });

  it('exits with 123 when the service refuses the call', async () => {
    await using wrapper = await runScript(app.url, anId('refused'), 'echo never', { flags: ['--ttl', '20h'] });
    expect(await wrapper.ended).toMatchObject({ exitCode: 123 });
    expect(wrapper.output).toContain('max_ttl_ms');
  });

  it('exits with 123 when nothing answers, and says so once before', async () => {
    await using wrapper = await runScript('http://127.0.0.1:9', anId('nobody'), 'echo never');
    expect(await wrapper.ended).toMatchObject({ exitCode: 123 });
    expect(wrapper.output.match(/trying on/g)).toHaveLength(1);
  });

  it.each([
    ['run', '--', 'true'],
    ['run', '--queue', 'q'],
    ['run', '--queue', 'q', '--ttl', '30', '--', 'true'],
    ['run', '--queue', 'q', '--url', 'nowhere', '--', 'true'],
    ['run', '--queue', 'q', '--label', 'novalue', '--', 'true'],
  ])('exits with 2 for "%s %s %s %s"', async (...args) => {
    await using wrapper = await signalbox(args);
    expect(await wrapper.ended).toMatchObject({ exitCode: 2 });
  });
});

describe('the command', () => {
  it.each([
    { command: 'no-such-command', exitCode: 127 },
    { command: '/etc/passwd', exitCode: 126 },
  ])('$command ends with $exitCode as in a shell, and the place is given back', async ({ command, exitCode }) => {
    const queue = anId('shell');
    await using wrapper = await signalbox(['run', '--url', app.url, '--queue', queue, '--', command]);
    expect(await wrapper.ended).toMatchObject({ exitCode });
    expect(await endsOf(database, queue)).toMatchObject([{ state: 'released', outcome: 'failure' }]);
  });

  it('keeps its own options, also without a double dash', async () => {
    const args = ['run', '--url', app.url, '--queue', anId('own'), '--quiet', 'echo', '--queue', 'x', '--json'];
    await using wrapper = await signalbox(args);
    expect(await wrapper.ended).toMatchObject({ exitCode: 0 });
    expect(wrapper.output).toBe('--queue x --json\n');
  });

  it('is asked to end by a cancel through the service; it is renewed meanwhile, and released as cancelled', async () => {
    const queue = anId('asked');
    const script = `trap 'sleep 3; exit 5' TERM; echo works; while :; do sleep 0.05; done`;
    await using wrapper = await runScript(app.url, queue, script, { flags: ['--ttl', '2s', '--claim-id', 'mine'] });
    await wrapper.line(/^works$/);
    await app.client.cancel(queue, 'mine');
    expect(await wrapper.ended).toMatchObject({ exitCode: 5 });
    expect(await endsOf(database, queue)).toMatchObject([{ state: 'released', outcome: 'cancelled' }]);
  });

  it('with --latest-only gives way to a newer one where the queue has cancel_in_progress', async () => {
    const queue = anId('latest');
    await app.client.put(queue, { cancel_in_progress: true });
    const flags = ['--latest-only', '--ttl', '1500ms'];
    await using older = await runScript(
      app.url,
      queue,
      'trap "echo yielding; exit 3" TERM; while :; do sleep 0.1; done',
      { flags },
    );
    await older.line(/holding/);
    await using newer = await runScript(app.url, queue, 'echo the newest', { flags });
    expect(await older.ended).toMatchObject({ exitCode: 3 });
    expect(older.output).toContain('yielding');
    expect(await newer.ended).toMatchObject({ exitCode: 0 });
    expect(newer.output).toContain('the newest');
  });

  it('is ended soon, with 121, when an operator breaks its lease', async () => {
    const queue = anId('broken');
    const file = join(directory, queue);
    const flags = ['--ttl', '3s', '--claim-id', 'mine'];
    await using wrapper = await runScript(app.url, queue, beatingScript(file), { flags });
    await until(() => beatsIn(file), { what: 'the command runs' });
    await app.client.ask('POST', `/v1/queues/${queue}/claims/mine/break`, { reason: 'test', actor: 'me' });
    expect(await wrapper.ended).toMatchObject({ exitCode: 121 });
    expect(wrapper.output).toContain('the lease is lost (broken)');
    expect(wrapper.output).toContain('the lease was lost (broken by me: test)');
    const [end] = await endsOf(database, queue);
    // A third of the ttl until the next renewal notices, then what lies between TERM and KILL; both with slack.
    expect((beatsIn(file)?.last ?? NaN) - (end?.ended ?? NaN)).toBeLessThan(1 + 0.7 + 0.5);
  });

  it('leaves nothing running in its process group when its place goes on', async () => {
    const queue = anId('left');
    const file = join(directory, queue);
    const script = `(${beatingScript(file)}) & sleep 0.3; exit 3`;
    await using wrapper = await runScript(app.url, queue, script, { flags: ['--release-grace', '300ms'] });
    expect(await wrapper.ended).toMatchObject({ exitCode: 3 });
    const [end] = await endsOf(database, queue);
    expect(end).toMatchObject({ state: 'released', outcome: 'failure' });
    expect(beatsIn(file)?.last).toBeLessThan((end?.ended ?? NaN) + 0.03);
    expect(processesOf(queue)).toEqual([]);
  });

  it('does not survive its watchdog: the wrapper ends it and exits with 121', async () => {
    const queue = anId('unguarded');
    const file = join(directory, queue);
    await using wrapper = await runScript(app.url, queue, beatingScript(file));
    await until(() => beatsIn(file), { what: 'the command runs' });
    const watchdog = processesOf(queue).find((pid) =>
      readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('watchdog.ts'),
    );
    process.kill(watchdog ?? NaN, 'SIGKILL');
    expect(await wrapper.ended).toMatchObject({ exitCode: 121 });
    await until(() => processesOf(queue).length === 0, { what: 'nothing is left' });
    const [end] = await endsOf(database, queue);
    expect(end).toMatchObject({ state: 'released', outcome: 'failure' });
  });

  it('ends also when the watchdog is paused: the wrapper does its work', async () => {
    const queue = anId('dozing');
    const file = join(directory, queue);
    const flags = ['--ttl', '1500ms', '--claim-id', 'mine'];
    await using wrapper = await runScript(app.url, queue, beatingScript(file), { flags });
    // For some beats: at the first one the watchdog may not have told its wrapper yet that there is a command.
    const beating = () => (beatsIn(file)?.last ?? 0) - (beatsIn(file)?.first ?? 0) >= 0.3;
    await until(beating, { what: 'the command runs, and all know of it' });
    const watchdog = processesOf(queue).find((pid) =>
      readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('watchdog.ts'),
    );
    process.kill(watchdog ?? NaN, 'SIGSTOP');
    await app.client.ask('POST', `/v1/queues/${queue}/claims/mine/break`, { reason: 'test', actor: 'me' });
    expect(await wrapper.ended).toMatchObject({ exitCode: 121 });
    await until(() => processesOf(queue).length === 0, { what: 'nothing is left' });
  });
});

describe('a command that ended by itself while its wrapper was paused', () => {
  it('has done its work: its own exit code, and released as success', async () => {
    const queue = anId('paused');
    const [go, done] = [join(directory, `${queue}.go`), join(directory, `${queue}.done`)];
    const script = `echo begun; while [ ! -e ${go} ]; do sleep 0.05; done; : > ${done}`;
    await using wrapper = await runScript(app.url, queue, script, { flags: ['--ttl', '6s', '--claim-id', 'mine'] });
    await wrapper.line(/begun/);
    wrapper.pause();
    await writeFile(go, '');
    await until(() => existsSync(done), { what: 'the command has done its work', timeoutMs: 3000 });
    // Past the time at which a wrapper that runs would have had to stop its command.
    await until(
      async () => {
        const view = (await app.client.get(queue, 'mine')).body as { ttl_remaining_ms?: number };
        return (view.ttl_remaining_ms ?? 0) < 1500;
      },
      { what: 'two thirds of the ttl have passed', timeoutMs: 10_000 },
    );
    wrapper.resume();
    expect(await wrapper.ended).toMatchObject({ exitCode: 0 });
    expect(wrapper.output).not.toContain('watchdog was killed');
    expect((await endsOf(database, queue))[0]).toMatchObject({ state: 'released', outcome: 'success' });
  });
});

describe('a token that cannot be sent', () => {
  it.each(['two\nlines', 'with space'])('is refused as an argument and not shown: %j', async (token) => {
    await using command = await signalbox(['status', '--url', app.url], { SIGNALBOX_TOKEN: token });
    expect(await command.ended).toMatchObject({ exitCode: 2 });
    expect(command.output).toContain('token');
    expect(command.output).not.toContain(token.split(/\s/)[1]);
  });
});

describe('what surrounds the wrapper', () => {
  it('keeps the lease of a job whose stderr nobody reads', async () => {
    const queue = anId('stalled');
    await using proxy = await TcpProxy.to(app.url);
    const file = join(directory, `${queue}.out`);
    // The command fills the pipe of stderr, which nobody reads; then the service is away, and the wrapper has to say so.
    const job = `head -c 100000 /dev/zero >&2 & sleep 9; echo ended > ${file}`;
    const words = ['run', '--url', proxy.through(app.url), '--queue', queue, '--ttl', '6s', '--', 'sh', '-c', job];
    const child = spawn(process.execPath, [program, ...words], { stdio: ['ignore', 'ignore', 'pipe'] });
    const ended = once(child, 'exit') as Promise<[number | null]>;
    await until(async () => (await app.client.queue(queue)).body.held === 1, { what: 'it holds' });
    proxy.freeze();
    const lease = () =>
      database.query(`select 1 from signalbox_v1.leases where queue = $1 and ttl_remaining_ms < 2600`, [queue]);
    await until(async () => (await lease()).rowCount === 1, { what: 'renewals have failed', timeoutMs: 8000 });
    proxy.thaw();
    expect((await ended)[0]).toBe(0);
    expect(readFileSync(file, 'utf8')).toBe('ended\n');
  });
});
