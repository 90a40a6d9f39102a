import { readFile } from 'node:fs/promises';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { anId } from '../support/http-client.ts';
import { startTestApp, type TestApp } from '../support/test-app.ts';
import { until } from '../support/until.ts';
import { signalbox } from '../support/wrapper.ts';

let database: TestDatabase;
let app: TestApp;
let directory: string;

beforeAll(async () => {
  database = await freshDatabase();
  app = await startTestApp(database);
  directory = await mkdtemp(join(tmpdir(), 'signalbox-clean-'));
});

afterAll(async () => {
  await app[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

async function dirtyQueue(...claims: readonly string[]): Promise<string> {
  const queue = anId('clean');
  await app.client.put(queue, { cleanup: true, concurrency_limit: 3 });
  for (const [index, claimId] of claims.entries()) await soil(queue, claimId, { labels: { nth: `${index}` } });
  return queue;
}

async function soil(queue: string, claimId: string, body: object = {}): Promise<void> {
  await app.client.release(await app.client.hold(queue, { claim_id: claimId, ...body }), { outcome: 'failure' });
}

const clean = (queue: string, script: string, ...flags: readonly string[]) =>
  signalbox(['clean', '--url', app.url, queue, ...flags, '--', 'sh', '-c', script]);

async function dirtyIn(queue: string): Promise<number> {
  return (await app.client.queue(queue)).body.dirty;
}

test('runs the command on one dirty slot, tells it what was there, and the slot is free when it succeeds', async () => {
  const queue = await dirtyQueue('first', 'second');
  const file = join(directory, queue);
  await using cleaner = await clean(queue, `env | grep ^SIGNALBOX_ > ${file}`);
  expect(await cleaner.ended).toMatchObject({ exitCode: 0 });
  const told = Object.fromEntries(
    (await readFile(file, 'utf8')).split('\n').map((line) => line.split(/=(.*)/s).slice(0, 2)),
  ) as Record<string, string>;
  expect(told).toMatchObject({
    SIGNALBOX_URL: app.url,
    SIGNALBOX_QUEUE: queue,
    SIGNALBOX_SLOT: '1',
    SIGNALBOX_ATTEMPT: '1',
    SIGNALBOX_PREVIOUS_CLAIM_ID: 'first',
    SIGNALBOX_PREVIOUS_KIND: 'claim',
    SIGNALBOX_PREVIOUS_STATE: 'released',
    SIGNALBOX_PREVIOUS_REASON: 'released',
    SIGNALBOX_PREVIOUS_OUTCOME: 'failure',
    SIGNALBOX_PREVIOUS_LABELS: '{"nth":"0"}',
    SIGNALBOX_PREVIOUS_METADATA: '{}',
  });
  expect(Number(told['SIGNALBOX_FENCING_TOKEN'])).toBeGreaterThan(Number(told['SIGNALBOX_PREVIOUS_FENCING_TOKEN']));
  expect(cleaner.output).toContain(`cleaning slot 1 of ${queue} after first`);
  expect(await dirtyIn(queue)).toBe(1);
});

test('a command that fails leaves the slot dirty, and its exit code is passed on', async () => {
  const queue = await dirtyQueue('a');
  await using cleaner = await clean(queue, 'exit 7');
  expect(await cleaner.ended).toMatchObject({ exitCode: 7 });
  expect(await dirtyIn(queue)).toBe(1);
  await using absent = await signalbox(['clean', '--url', app.url, queue, '--', '/no/such/program']);
  expect(await absent.ended).toMatchObject({ exitCode: 127 });
  expect(await dirtyIn(queue)).toBe(1);
});

test('exits with 120 when nothing is dirty, at once or after --wait; with --all that is success', async () => {
  const queue = await dirtyQueue();
  await using cleaner = await clean(queue, 'echo never', '--wait', '100ms');
  expect(await cleaner.ended).toMatchObject({ exitCode: 120 });
  expect(cleaner.output).toContain('nothing is dirty');
  await using all = await clean(queue, 'echo never', '--all');
  expect(await all.ended).toMatchObject({ exitCode: 0 });
});

test('a queue that is not there is told of, with 123; --watch waits for it', async () => {
  const queue = anId('clean');
  await using cleaner = await clean(queue, 'echo never', '--wait', '10s');
  expect(await cleaner.ended).toMatchObject({ exitCode: 123 });
  expect(cleaner.output).toBe(`signalbox: There is no queue ${queue}.\n`);
  await using watcher = await clean(queue, 'echo cleaned', '--watch');
  await watcher.line(/waiting for it/);
  await app.client.put(queue, { cleanup: true });
  await soil(queue, 'a');
  await watcher.line(/^cleaned$/m);
  await watcher.terminate();
});

test('says of a queue without clean-up stage that nothing can be dirty there', async () => {
  const queue = anId('plain');
  await app.client.put(queue, {});
  await using cleaner = await clean(queue, 'echo never');
  expect(await cleaner.ended).toMatchObject({ exitCode: 120 });
  expect(cleaner.output).toContain(`nothing can be dirty in ${queue}: it has no clean-up stage`);
});

test('--all cleans one after another, and stops at a command that fails', async () => {
  const queue = await dirtyQueue('a');
  const file = join(directory, queue);
  const lease = await app.client.hold(queue, { claim_id: 'b' });
  await soil(queue, 'c');
  await app.client.release(lease);
  const script = `echo "$SIGNALBOX_PREVIOUS_CLAIM_ID" >> ${file}; test "$SIGNALBOX_PREVIOUS_CLAIM_ID" != b`;
  await using cleaner = await clean(queue, script, '--all');
  expect(await cleaner.ended).toMatchObject({ exitCode: 1 });
  expect(await readFile(file, 'utf8')).toBe('a\nc\nb\n');
  expect(await dirtyIn(queue)).toBe(1);
});

test('--watch waits for dirty slots, tries a failed one again, and a killed one is dirty for the next cleaner', async () => {
  const queue = await dirtyQueue();
  const file = join(directory, queue);
  const script = `echo "$SIGNALBOX_PREVIOUS_CLAIM_ID $SIGNALBOX_ATTEMPT" >> ${file}
    test "$SIGNALBOX_PREVIOUS_CLAIM_ID" != hangs || exec sleep 60
    test "$SIGNALBOX_ATTEMPT" = 2`;
  await using cleaner = await clean(queue, script, '--watch', '--ttl', '2s');
  await soil(queue, 'a');
  await until(async () => (await readFile(file, 'utf8').catch(() => '')) === 'a 1\na 2\n', {
    what: 'a second attempt',
  });
  await until(async () => (await dirtyIn(queue)) === 0, { what: 'the slot is clean' });
  await soil(queue, 'hangs');
  await until(async () => (await readFile(file, 'utf8')).includes('hangs 1'), { what: 'the second command runs' });
  // The watchdog ends the command of a cleaner that is killed, and its lease runs out.
  await cleaner.kill();
  await using next = await clean(queue, `echo "next $SIGNALBOX_ATTEMPT" >> ${file}`, '--wait', '60s');
  expect(await next.ended).toMatchObject({ exitCode: 0 });
  expect(await readFile(file, 'utf8')).toContain('next 2');
  expect(await dirtyIn(queue)).toBe(0);
});

test('a signal ends --watch: with 122 while it waits, and the slot of a command that was ended is dirty', async () => {
  const queue = await dirtyQueue();
  await using idle = await clean(queue, 'echo never', '--watch');
  await until(
    async () => (await (await fetch(`${app.url}/metrics`)).text()).includes('\nsignalbox_waiting_cleaners 1\n'),
    {
      what: 'the cleaner waits',
    },
  );
  expect(await idle.terminate()).toMatchObject({ exitCode: 122 });
  await soil(queue, 'a');
  const file = join(directory, queue);
  await using busy = await clean(queue, `echo here > ${file}; exec sleep 60`, '--watch');
  await until(async () => (await readFile(file, 'utf8').catch(() => '')) === 'here\n', { what: 'the command runs' });
  expect(await busy.terminate()).toMatchObject({ exitCode: 122 });
  expect(await dirtyIn(queue)).toBe(1);
});

test.each([[[]], [['q']], [['--watch', '--all', 'q', '--', 'true']], [['--watch', '--wait', '1s', 'q', '--', 'true']]])(
  'bad arguments %j end with 2',
  async (args) => {
    await using cleaner = await signalbox(['clean', '--url', app.url, ...args]);
    expect(await cleaner.ended).toMatchObject({ exitCode: 2 });
  },
);

test('a refused call ends with 123', async () => {
  await using cleaner = await clean(await dirtyQueue('a'), 'true', '--ttl', '20h');
  expect(await cleaner.ended).toMatchObject({ exitCode: 123 });
  expect(cleaner.output).toContain('max_ttl_ms');
});
