import { readdirSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { findServerOwner } from '../../../src/store/embedded/server-owner.ts';
import { BackgroundProcess } from '../../support/background-process.ts';
import { ask, TemporaryDataDir } from '../../support/data-dir.ts';
import { until } from '../../support/until.ts';

test('joining the server that a killed process left running', async () => {
  await using dataDir = await TemporaryDataDir.make();
  const first = await dataDir.open();
  await ask(first.url, 'CREATE TABLE kept AS SELECT 42 AS answer');
  await first.process.kill();

  const second = await dataDir.open();
  expect(second.joined).toBe(true);
  expect(await ask(second.url, 'SELECT answer FROM kept')).toEqual({ answer: 42 });
  expect(await second.leave()).toBe('stopped');
});

test('recovering after kill -9 of the process and of the server', async () => {
  await using dataDir = await TemporaryDataDir.make();
  const first = await dataDir.open();
  await ask(first.url, 'CREATE TABLE kept AS SELECT 42 AS answer');
  const postmaster = await dataDir.postmasterPid();
  await first.process.kill();
  process.kill(postmaster, 'SIGKILL');

  // No wait in between: backends of the killed server may still be going down.
  const second = await dataDir.open();
  expect(second.joined).toBe(false);
  expect(await dataDir.postmasterPid()).not.toBe(postmaster);
  expect(await ask(second.url, 'SELECT answer FROM kept')).toEqual({ answer: 42 });
});

test('seeing through a left-over lock file whose pid now belongs to another process of the same user', async () => {
  await using dataDir = await TemporaryDataDir.make();
  const first = await dataDir.open();
  const lockFile = await readFile(dataDir.lockFile, 'utf8');
  await first.leave();
  await using unrelated = await BackgroundProcess.start('sleep', ['600'], { cwd: '/', ...(await findServerOwner()) });
  await writeFile(dataDir.lockFile, lockFile.replace(/^\d+/, `${unrelated.pid}`));

  const second = await dataDir.open();
  expect(second.joined).toBe(false);
  expect(await dataDir.postmasterPid()).not.toBe(unrelated.pid);
});

test.for([
  ['whose process is gone', (content: string) => content.replace(/^\d+/, '2147483000')],
  ['that is empty', () => ''],
] as const)('starting over a left-over lock file %s', async ([, spoil]) => {
  await using dataDir = await TemporaryDataDir.make();
  const first = await dataDir.open();
  const lockFile = await readFile(dataDir.lockFile, 'utf8');
  await first.leave();
  await writeFile(dataDir.lockFile, spoil(lockFile));
  expect((await dataDir.open()).joined).toBe(false);
});

test('beginning anew after kill -9 in the middle of initdb', async () => {
  await using dataDir = await TemporaryDataDir.make();
  const draft = () => readdirSync(dataDir.path).find((name) => name.startsWith('postgres.new-'));
  const first = await dataDir.startOpener();
  await until(() => draft() !== undefined && readdirSync(join(dataDir.path, draft() ?? '', 'data')).length > 5, {
    what: 'initdb is half-way',
  });
  await first.kill();
  expect(draft()).toBeDefined();

  const second = await dataDir.open();
  expect(await ask(second.url, 'SELECT 1 AS one')).toEqual({ one: 1 });
  expect(draft()).toBeUndefined();
});

test('taking the lock over from a process that was killed while it waited for it or held it', async () => {
  await using dataDir = await TemporaryDataDir.make();
  const [first, second] = [await dataDir.startOpener(), await dataDir.startOpener()];
  await until(() => readdirSync(dataDir.path).includes('lock'), { what: 'the lock is there' });
  await Promise.all([first.kill(), second.kill()]);
  expect((await dataDir.open()).joined).toBe(false);
});

test('refusing data of another major version', async () => {
  await using dataDir = await TemporaryDataDir.make();
  await (await dataDir.open()).leave();
  await writeFile(join(dataDir.path, 'postgres/PG_VERSION'), '17\n');
  const second = await dataDir.startOpener();
  await second.line(/was made by PostgreSQL 17, this program brings 18/);
  expect((await second.ended).exitCode).toBe(1);
});
