import { existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openEmbeddedServer } from '../../../src/store/embedded/index.ts';
import { ask, opened, TemporaryDataDir } from '../../support/data-dir.ts';

test('keeping data, port and password over a restart, and stopping cleanly', async () => {
  await using dataDir = await TemporaryDataDir.make();
  const first = await dataDir.open();
  expect(first.joined).toBe(false);
  await ask(first.url, 'CREATE TABLE kept AS SELECT 42 AS answer');
  expect(await first.leave()).toBe('stopped');
  expect(existsSync(dataDir.lockFile)).toBe(false);

  const second = await dataDir.open();
  expect(second.joined).toBe(false);
  expect(second.url).toBe(first.url);
  expect(await ask(second.url, 'SELECT answer FROM kept')).toEqual({ answer: 42 });
});

test('being a PostgreSQL 18 for the superuser and database signalbox, on loopback only, behind a password', async () => {
  await using dataDir = await TemporaryDataDir.make();
  const { url } = await dataDir.open();
  const facts = `SELECT current_user AS role, current_database() AS database, usesuper AS superuser,
    current_setting('server_version_num')::int / 10000 AS version, current_setting('server_encoding') AS encoding,
    current_setting('listen_addresses') AS listens, current_setting('unix_socket_directories') AS sockets,
    (SELECT datcollate FROM pg_database WHERE datname = current_database()) AS collation
    FROM pg_user WHERE usename = current_user`;
  expect(await ask(url, facts)).toEqual({
    ...{ role: 'signalbox', database: 'signalbox', superuser: true, version: 18 },
    ...{ encoding: 'UTF8', listens: '127.0.0.1', sockets: '', collation: 'C' },
  });
  const intruder = new URL(url);
  intruder.password = 'guess';
  await expect(ask(intruder.href, 'SELECT 1')).rejects.toMatchObject({ code: '28P01' });
  expect((await stat(join(dataDir.path, 'access.json'))).mode & 0o777).toBe(0o600);
});

test('a second process joins, and the last one to leave stops the server', async () => {
  await using dataDir = await TemporaryDataDir.make();
  const first = await dataDir.open();
  const second = await dataDir.open();
  expect([first.joined, second.joined]).toEqual([false, true]);
  expect(second.url).toBe(first.url);
  expect(await first.leave()).toBe('left_running');
  expect(await ask(second.url, 'SELECT 1 AS one')).toEqual({ one: 1 });
  expect(await second.leave()).toBe('stopped');
});

test('a member that was killed does not keep the server running', async () => {
  await using dataDir = await TemporaryDataDir.make();
  const first = await dataDir.open();
  const second = await dataDir.open();
  await first.process.kill();
  expect(await second.leave()).toBe('stopped');
});

test('eight processes at once on an empty directory: one makes and starts the server, all get it', async () => {
  await using dataDir = await TemporaryDataDir.make();
  const processes = await Promise.all(Array.from({ length: 8 }, () => dataDir.startOpener()));
  const openers = await Promise.all(processes.map(opened));
  expect(openers.filter(({ joined }) => !joined)).toHaveLength(1);
  expect(new Set(openers.map(({ url }) => url)).size).toBe(1);
  const answers = await Promise.all(openers.map((opener) => opener.leave()));
  expect(answers.filter((answer) => answer === 'stopped')).toHaveLength(1);
});

test('leaving twice in one process gives one answer, and two openings are two members', async () => {
  await using dataDir = await TemporaryDataDir.make();
  const options = { dataDir: dataDir.path, log: () => undefined };
  const [first, second] = [await openEmbeddedServer(options), await openEmbeddedServer(options)];
  expect(await Promise.all([first.leave(), first.leave()])).toEqual(['left_running', 'left_running']);
  expect(await second.leave()).toBe('stopped');
});

test('taking another port when something else listens on the kept one', async () => {
  await using dataDir = await TemporaryDataDir.make();
  const first = await dataDir.open();
  await first.leave();
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(Number(new URL(first.url).port), '127.0.0.1', resolve));
  try {
    const second = await dataDir.open();
    expect(new URL(second.url).port).not.toBe(new URL(first.url).port);
    expect(await ask(second.url, 'SELECT 1 AS one')).toEqual({ one: 1 });
  } finally {
    other.close();
  }
});
