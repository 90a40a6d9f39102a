import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { anId } from '../support/http-client.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';
import { startTestApp, type TestApp, untilWaiting } from '../support/test-app.ts';
import { until } from '../support/until.ts';
import { beatingScript, beatsIn, endsOf, heldSeconds, runScript } from '../support/wrapper.ts';

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

const program = join(import.meta.dirname, '../../src/main.ts');

describe('the contract of signalbox run', () => {
  it('1: the command has a process group of its own, and the stdin, stdout and stderr of the wrapper', async () => {
    const script = 'cat; echo to-stderr >&2; echo "group $(cut -d" " -f5 /proc/$$/stat) leader $$"';
    const args = [program, 'run', '--url', app.url, '--queue', anId('own'), '--quiet', '--', 'sh', '-c', script];
    const { promise, resolve } = Promise.withResolvers<{ stdout: string; stderr: string }>();
    const wrapper = execFile(process.execPath, args, (_error, stdout, stderr) => resolve({ stdout, stderr }));
    wrapper.stdin?.end('from stdin\n');
    const { stdout, stderr } = await promise;
    const [, group, leader] = /^from stdin\ngroup (\d+) leader (\d+)\n$/.exec(stdout) ?? [];
    expect(group).toBe(leader);
    expect(Number(group)).not.toBe(wrapper.pid);
    expect(stderr).toBe('to-stderr\n');
  });

  it('2: without a renewal the group gets TERM at two thirds of the ttl and KILL at 0.9, and 121 is the exit code', async () => {
    await using proxy = await TcpProxy.to(app.url);
    const queue = anId('cut');
    const file = join(directory, queue);
    const script = `trap 'read -r now _ < /proc/uptime; echo "TERM at $now"' TERM
      while :; do read -r now _ < /proc/uptime; echo "$now $SIGNALBOX_FENCING_TOKEN" >> ${file}; sleep 0.05; done`;
    await using wrapper = await runScript(proxy.through(app.url), queue, script, { flags: ['--ttl', '3s'] });
    await until(() => beatsIn(file), { what: 'the command runs' });
    proxy.freeze();

    const [, termAt] = await wrapper.line(/^TERM at (\S+)$/);
    expect(await wrapper.ended).toMatchObject({ exitCode: 121 });
    const end = await until(async () => (await endsOf(database, queue))[0], { what: 'the lease has ended' });
    expect(end.state).toBe('expired');
    // The deadlines count from sending, a little before the database's own count. A shell sees TERM when its sleep ends.
    expect(Number(termAt)).toBeGreaterThan(end.expires - 1 - 0.5);
    expect(Number(termAt)).toBeLessThan(end.expires - 1 + 0.2);
    const last = beatsIn(file)?.last ?? NaN;
    expect(last).toBeGreaterThan(end.expires - 0.3 - 0.5);
    expect(last).toBeLessThan(end.expires - 0.3 + 0.1);
  });

  it('3: renewing goes on through the teardown of the command', async () => {
    const queue = anId('teardown');
    const script = `trap 'sleep 3; echo torn down; exit 0' TERM; echo works; while :; do sleep 0.05; done`;
    await using wrapper = await runScript(app.url, queue, script, { flags: ['--ttl', '2s'] });
    await wrapper.line(/^works$/);
    expect((await wrapper.terminate()).exitCode, wrapper.output).toBe(0);
    expect(wrapper.output).toContain('torn down\n');
    const ends = await endsOf(database, queue);
    expect(ends).toMatchObject([{ state: 'released', outcome: 'cancelled' }]);
    expect(heldSeconds(ends[0])).toBeGreaterThan(3);
  });

  it('4: nothing but the end of the command ends renewing: a job of four ttls keeps one lease', async () => {
    const queue = anId('long');
    await using wrapper = await runScript(app.url, queue, 'sleep 8', { flags: ['--ttl', '2s'] });
    expect((await wrapper.ended).exitCode, wrapper.output).toBe(0);
    const ends = await endsOf(database, queue);
    expect(ends).toMatchObject([{ state: 'released', outcome: 'success' }]);
    expect(heldSeconds(ends[0])).toBeGreaterThan(8);
  });

  it('5: the command knows its queue, claim, token, slot and holder, but not the bearer token of a flag', async () => {
    const queue = anId('env');
    const flags = [
      '--claim-id',
      'build-17',
      '--holder',
      'me',
      '--token',
      'secret',
      '--label',
      'a=b',
      '--priority',
      '3',
    ];
    await using wrapper = await runScript(app.url, queue, 'env | grep ^SIGNALBOX_ | sort', { flags });
    expect(await wrapper.ended).toMatchObject({ exitCode: 0 });
    const [end] = await endsOf(database, queue);
    expect(wrapper.output.split('\n').filter((line) => line.startsWith('SIGNALBOX_'))).toEqual([
      'SIGNALBOX_CLAIM_ID=build-17',
      `SIGNALBOX_FENCING_TOKEN=${end?.fencing_token}`,
      'SIGNALBOX_HOLDER=me',
      `SIGNALBOX_QUEUE=${queue}`,
      'SIGNALBOX_SLOT=1',
      `SIGNALBOX_URL=${app.url}`,
    ]);
    const { rows } = await database.query('select labels, priority from signalbox.history where queue = $1', [queue]);
    expect(rows).toEqual([{ labels: { a: 'b' }, priority: 3 }]);
  });

  it.each([
    { script: 'exit 0', exitCode: 0, outcome: 'success' },
    { script: 'exit 7', exitCode: 7, outcome: 'failure' },
    { script: 'kill -KILL $$', exitCode: 137, outcome: 'failure' },
  ])('6: "$script" ends with $exitCode and is released as $outcome', async ({ script, exitCode, outcome }) => {
    const queue = anId('outcome');
    await using wrapper = await runScript(app.url, queue, script);
    expect(await wrapper.ended).toMatchObject({ exitCode });
    expect(await endsOf(database, queue)).toMatchObject([{ state: 'released', outcome }]);
  });

  it('7: position and reason are printed once per change while waiting', async () => {
    const queue = anId('line');
    const lease = await app.client.hold(queue, { holder: 'someone', ttl_ms: 120_000 });
    await app.client.acquire(queue, { claim_id: 'ahead', holder: 'ahead', wait_ms: 0 });
    await using wrapper = await runScript(app.url, queue, 'echo done');
    await wrapper.line(/position 2 of 2/);
    await app.client.cancel(queue, 'ahead');
    await wrapper.line(/position 1 of 1/);
    await app.client.release(lease);
    expect(await wrapper.ended).toMatchObject({ exitCode: 0 });
    const lines = wrapper.output.split('\n').filter((line) => line.includes('waiting for a place'));
    expect(lines).toEqual([
      `signalbox: waiting for a place in ${queue}: position 2 of 2, behind others, held by someone`,
      `signalbox: waiting for a place in ${queue}: position 1 of 1, no free slot, held by someone`,
    ]);
  });

  it('8: TERM while it waits cancels the claim and exits with 122', async () => {
    const queue = anId('waits');
    await app.client.hold(queue, { ttl_ms: 120_000 });
    await using wrapper = await runScript(app.url, queue, 'echo never');
    await untilWaiting(app.client, queue, 1);
    expect(await wrapper.terminate()).toMatchObject({ exitCode: 122 });
    expect(await endsOf(database, queue)).toMatchObject([{ state: 'cancelled' }]);
    expect(wrapper.output).not.toContain('never');
  });

  it('8: TERM while it runs reaches the whole group, and the claim is released as cancelled', async () => {
    const queue = anId('runs');
    const file = join(directory, queue);
    await using wrapper = await runScript(
      app.url,
      queue,
      `(sleep 30; echo late) & ${beatingScript(file).replace(`trap '' TERM`, '')}`,
    );
    await until(() => beatsIn(file), { what: 'the command runs' });
    expect(await wrapper.terminate()).toMatchObject({ exitCode: 143 });
    expect(await endsOf(database, queue)).toMatchObject([{ state: 'released', outcome: 'cancelled' }]);
  });

  it('--batch: runs of one event stand together, in the order of their rank', async () => {
    const queue = anId('batch');
    const held = await app.client.hold(queue);
    const wait = async (claim: string, place: number, ...flags: string[]) => {
      const run = await runScript(app.url, queue, 'true', { flags: ['--claim-id', claim, ...flags] });
      await untilWaiting(app.client, queue, place);
      return run;
    };
    await using first = await wait('test', 1, '--batch', 'push-41', '--batch-rank', '1');
    await using other = await wait('other', 2);
    await using second = await wait('deploy', 3, '--batch', 'push-41', '--batch-rank', '2');
    await using third = await wait('lint', 4, '--batch', 'push-41');
    const { line } = (await app.client.queue(queue)).body;
    expect(line.map(({ claim_id: claim }) => claim)).toEqual(['lint', 'test', 'deploy', 'other']);
    await app.client.release(held);
    for (const run of [first, other, second, third]) expect(await run.ended).toMatchObject({ exitCode: 0 });
  });

  it.each([
    ['--batch-rank alone', ['--batch-rank', '1'], '--batch-rank goes with --batch only.'],
    ['a rank that is none', ['--batch', 'b', '--batch-rank', '-1'], 'It must be a whole number from 0 to 1000000.'],
  ])('%s is a usage error', async (_title, flags, told) => {
    await using run = await runScript(app.url, anId('batch'), 'echo never', { flags });
    expect(await run.ended).toMatchObject({ exitCode: 2 });
    expect(run.output).toContain(told);
    expect(run.output).not.toContain('never\n');
  });
});
