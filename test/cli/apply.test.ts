import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { oneOf, rowsOf } from '../support/sql-verbs.ts';
import { startTestApp, type TestApp } from '../support/test-app.ts';
import { aToken } from '../support/token-app.ts';
import { until } from '../support/until.ts';
import { signalbox } from '../support/wrapper.ts';

let database: TestDatabase;
let app: TestApp;
let folder: string;
let path: string;

beforeAll(async () => {
  database = await freshDatabase();
  app = await startTestApp(database);
});
afterAll(async () => {
  await app[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'signalbox-apply-'));
  path = join(folder, 'queues.yaml');
  return () => rm(folder, { recursive: true, force: true });
});

async function apply(content: string, ...flags: readonly string[]) {
  await writeFile(path, content);
  await using command = await signalbox(['apply', '--url', app.url, '-f', path, ...flags]);
  const { exitCode } = await command.ended;
  return { exitCode, output: command.output.trimEnd() };
}

/** How often anything was written, as the feed tells. */
async function eventCount(): Promise<number> {
  const sql = `select count(*)::int as count from signalbox.events where type !~ '^term'`;
  return (await oneOf<{ count: number }>(database, sql)).count;
}
const queueOf = async (name: string) => (await app.client.queue(name)).body;

describe('signalbox apply', () => {
  it('makes and changes what the file says, tells it, and does nothing the second time', async () => {
    await app.client.put('first/b', { concurrency_limit: 1, paused: true });
    const file = `queues:
  first/a: { concurrency_limit: 2, max_hold_ms: 60000 }
  first/b: { concurrency_limit: 4 }
patterns:
  first/*: { lock_delay_ms: 7 }
merge_queues:
  first/shop/main: { ttl_ms: 5000 }
`;
    const planned = await apply(file, '--dry-run');
    const due = [
      '+ queue first/a: concurrency_limit 2, max_hold_ms 60000',
      '~ queue first/b: concurrency_limit 1 → 4',
      '+ pattern first/*: lock_delay_ms 7',
      '+ merge queue first/shop/main: ttl_ms 5000',
    ].join('\n');
    expect(planned).toEqual({ exitCode: 1, output: due });
    expect((await app.client.queue('first/a')).status).toBe(404);
    expect(await apply(file)).toEqual({ exitCode: 0, output: due });
    expect(await queueOf('first/a')).toMatchObject({ concurrency_limit: 2, lock_delay_ms: 7, auto_created: false });
    expect(await queueOf('first/b')).toMatchObject({ concurrency_limit: 4, lock_delay_ms: 7, paused: true });
    const before = await eventCount();
    expect(await apply(file, '--dry-run')).toEqual({ exitCode: 0, output: '' });
    expect(await apply(file)).toEqual({ exitCode: 0, output: 'nothing to change' });
    expect(await apply(file, '--prune')).toEqual({ exitCode: 0, output: 'nothing to change' });
    expect(await eventCount()).toBe(before);
  });

  it('refuses the whole file, all problems shown, before anything is written', async () => {
    const before = await eventCount();
    await app.client.put('second/max', { max_ttl_ms: 60_000 });
    const refused = await apply(`queues:
  second/a: { concurrency_limit: 2 }
  second/b: { concurrency_limit: -2 }
  second/c: { colour: red }
`);
    expect(refused.exitCode).toBe(2);
    expect(refused.output).toContain(`${path}, line 3: second/b: concurrency_limit: `);
    expect(refused.output).toContain(`${path}, line 4: second/c: colour: there is no such setting`);
    // What contradicts only what is there already.
    const contradiction = await apply(`queues:
  second/a: {}
  second/max: { default_ttl_ms: 90000 }
`);
    expect(contradiction.exitCode).toBe(2);
    expect(contradiction.output).toContain('line 3: second/max: default_ttl_ms 90000 is longer than max_ttl_ms 60000');
    expect((await app.client.queue('second/a')).status).toBe(404);
    expect(await eventCount()).toBe(before + 1);
  });

  it('takes away with --prune what an earlier apply of the label made, and nothing else', async () => {
    await app.client.put('third/foreign', {});
    const label = ['--label', 'third'];
    await apply(
      `queues:
  third/a: { concurrency_limit: 2, lock_delay_ms: 5 }
  third/b: { concurrency_limit: 2 }
  third/busy: {}
patterns:
  third/*: { concurrency_limit: 9 }
merge_queues:
  third/shop/main: { ttl_ms: 5000 }
`,
      ...label,
    );
    await app.client.hold('third/busy');
    const less = 'queues:\n  third/a: { lock_delay_ms: 5 }\n';
    // Without --prune what is gone stays, and is not forgotten.
    expect(await apply(less, ...label)).toEqual({ exitCode: 0, output: 'nothing to change' });
    const pruned = await apply(less, ...label, '--prune');
    expect(pruned.exitCode).toBe(1);
    expect(pruned.output.split('\n').sort()).toEqual(
      [
        '~ queue third/a: concurrency_limit inherited',
        '- queue third/b',
        '- pattern third/*',
        '- merge queue third/shop/main',
        'signalbox: not done: - queue third/busy: Queue third/busy has 1 held, 0 dirty, 0 delayed, 0 waiting, 0 dead letters.',
      ].sort(),
    );
    expect(await queueOf('third/a')).toMatchObject({
      concurrency_limit: 1,
      sources: { concurrency_limit: 'default', lock_delay_ms: 'local' },
    });
    expect((await app.client.queue('third/foreign')).status).toBe(200);
    // What could not go then goes the next time.
    await app.client.ask('DELETE', '/v1/queues/third%2Fbusy?force=true');
    expect(await apply(less, ...label, '--prune')).toEqual({ exitCode: 0, output: 'nothing to change' });
    const { made } = await oneOf<{ made: unknown }>(
      database,
      `select made from signalbox.applied_files where label = 'third'`,
    );
    expect(made).toEqual({ queues: { 'third/a': ['lock_delay_ms'] }, patterns: [], merge_queues: [] });
  });

  it('tells programs the same with --json: one document, also of a file that is refused', async () => {
    await app.client.put('json/b', { concurrency_limit: 1, lock_delay_ms: 5 });
    await app.client.ask('PUT', '/v1/queue-patterns/json%2F*', { paused: false, max_waiting: 9 });
    const file = `label: as-json
queues:
  json/a: { concurrency_limit: null }
  json/b: { concurrency_limit: 2 }
patterns:
  json/*: { paused: false }
`;
    const changes = [
      { change: 'made', what: 'queue', name: 'json/a', settings: [{ setting: 'concurrency_limit', to: null }] },
      {
        change: 'changed',
        what: 'queue',
        name: 'json/b',
        settings: [{ setting: 'concurrency_limit', from: 1, to: 2 }],
      },
      { change: 'changed', what: 'pattern', name: 'json/*', settings: [{ setting: 'max_waiting', from: 9 }] },
    ];
    const planned = await apply(file, '--json', '--dry-run');
    expect(planned.exitCode).toBe(1);
    expect(JSON.parse(planned.output)).toEqual({ label: 'as-json', dry_run: true, changes, refused: [] });
    const done = await apply(file, '--json');
    expect(done.exitCode).toBe(0);
    expect(JSON.parse(done.output)).toEqual({ label: 'as-json', dry_run: false, changes, refused: [] });
    const again = await apply(file, '--json');
    expect(JSON.parse(again.output)).toEqual({ label: 'as-json', dry_run: false, changes: [], refused: [] });
    await app.client.hold('json/a');
    const pruned = await apply('label: as-json\nqueues:\n  json/b: {}\n', '--json', '--prune');
    expect(pruned.exitCode).toBe(1);
    expect(JSON.parse(pruned.output)).toMatchObject({
      changes: [
        { change: 'removed', what: 'pattern', name: 'json/*', settings: [] },
        { change: 'changed', what: 'queue', name: 'json/b', settings: [{ setting: 'concurrency_limit', from: 2 }] },
      ],
      refused: [{ change: 'removed', what: 'queue', name: 'json/a', code: 'queue_in_use' }],
    });
    const refused = await apply('queues:\n  json/a: { colour: red }\n', '--json');
    expect(refused.exitCode).toBe(2);
    const problem = `${path}, line 2: json/a: colour: there is no such setting`;
    expect(refused.output.split('\n')).toContain(JSON.stringify({ problems: [problem] }));
  });

  it('says 123 without a service and 2 without a file', async () => {
    await using away = await signalbox(['apply', '--url', 'http://127.0.0.1:9', '-f', path]);
    expect((await away.ended).exitCode).toBe(2);
    await writeFile(path, 'queues: {a: {}}');
    await using asked = await signalbox(['apply', '--url', 'http://127.0.0.1:9', '-f', path]);
    expect((await asked.ended).exitCode).toBe(123);
  });

  it('applies again when the content changes, keeps the last good one, and follows a swapped link', async () => {
    const version = async (name: string, limit: string) => {
      await mkdir(join(folder, name));
      await writeFile(join(folder, name, 'queues.yaml'), `queues:\n  watched: { concurrency_limit: ${limit} }\n`);
      // As a ConfigMap is swapped: a link to a folder is replaced by another.
      await symlink(name, join(folder, 'next'));
      await rename(join(folder, 'next'), join(folder, '..data'));
    };
    await version('one', '1');
    await symlink('..data/queues.yaml', path);
    await using command = await signalbox(['apply', '--url', app.url, '-f', path, '--watch']);
    await command.line(/\+ queue watched: concurrency_limit 1/);
    await version('two', '2');
    await command.line(/~ queue watched: concurrency_limit 1 → 2/);
    await version('bad', 'many');
    await command.line(/refused as a whole/);
    expect(await queueOf('watched')).toMatchObject({ concurrency_limit: 2 });
    await version('three', '3');
    await until(async () => (await queueOf('watched')).concurrency_limit === 3, { what: 'the third version' });
    await command.terminate();
    expect((await command.ended).exitCode).toBe(0);
  });
});

// Last: from here on calls need a token.
describe('with tokens', () => {
  it('a token for some queues applies what is theirs, remembers nothing, and may not prune; events name it', async () => {
    const { token } = await aToken(database, { prefix: 'mine/', name: 'team mine' });
    const replies = async (content: string, ...flags: string[]) => {
      await writeFile(path, content);
      const env = { SIGNALBOX_TOKEN: token };
      await using command = await signalbox(['apply', '--url', app.url, '-f', path, ...flags], env);
      const { exitCode } = await command.ended;
      return { exitCode, output: command.output };
    };
    const file = 'queues:\n  mine/a: {}\npatterns:\n  mine/*: { concurrency_limit: 2 }\n';
    await until(async () => (await replies(file)).exitCode === 0, { what: 'the token is known' });
    expect((await replies(file)).output).toContain('what the file makes is not remembered');
    expect((await replies(file, '--prune')).exitCode).toBe(123);
    expect((await replies('queues:\n  other: {}\n')).exitCode).toBe(123);
    expect(
      await rowsOf(
        database,
        `select type, queue, data ->> 'actor' as actor from signalbox.events
         where queue like 'mine/%' order by id`,
      ),
    ).toEqual(
      expect.arrayContaining([
        { type: 'queue.changed', queue: 'mine/a', actor: 'team mine' },
        { type: 'pattern.changed', queue: 'mine/*', actor: 'team mine' },
      ]),
    );
  });
});
