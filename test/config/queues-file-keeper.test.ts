import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import type { ApplyTarget } from '../../src/config/apply-target.ts';
import { type QueuesFileEvent, QueuesFileKeeper, readQueuesFile } from '../../src/config/queues-file-keeper.ts';
import { SettingsError } from '../../src/config/settings.ts';
import { SignalboxError } from '../../src/protocol/errors.ts';
import { freshDatabase } from '../support/database.ts';
import { TestClient } from '../support/http-client.ts';
import { oneOf, rowsOf } from '../support/sql-verbs.ts';
import { until } from '../support/until.ts';
import { signalbox } from '../support/wrapper.ts';

let folder: string;
let path: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'signalbox-queues-file-'));
  path = join(folder, 'queues.yaml');
  return () => rm(folder, { recursive: true, force: true });
});

async function replicas() {
  const database = await freshDatabase();
  onTestFinished(() => database[Symbol.asyncDispose]());
  return {
    database,
    serve: (env: Readonly<Record<string, string>> = {}) =>
      signalbox(['serve'], {
        DATABASE_URL: database.url,
        DATABASE_DIRECT_URL: database.directUrl,
        PORT: '0',
        QUEUES_FILE: path,
        ...env,
      }),
  };
}
const listens = /Signalbox listens on (\S+)/;

describe('QUEUES_FILE', () => {
  it('P32: is applied when a replica says that it listens, and again when it changes; a bad one changes nothing', async () => {
    const { database, serve } = await replicas();
    await writeFile(path, 'queues:\n  a: { concurrency_limit: ${LIMIT} }\npatterns:\n  x*: { paused: true }\n');
    await using replica = await serve({ LIMIT: '7' });
    const client = new TestClient((await replica.line(listens))[1] ?? '');
    expect((await client.queue('a')).body).toMatchObject({
      concurrency_limit: 7,
      sources: { concurrency_limit: 'local' },
    });
    expect((await client.acquire('x1')).status).toBe(202);
    await writeFile(path, 'queues:\n  a: { concurrency_limit: many }\n');
    await replica.line(/the file of queues is refused/);
    expect((await client.queue('a')).body.concurrency_limit).toBe(7);
    await writeFile(path, 'queues:\n  a: { concurrency_limit: 9 }\n');
    await until(async () => (await client.queue('a')).body.concurrency_limit === 9, {
      what: 'the new file is applied',
    });
    // Without QUEUES_FILE_PRUNE what the file has no more stays.
    expect((await client.queue('x1')).body.paused).toBe(true);
    const sql = `select distinct data ->> 'actor' as actor from signalbox.events
      where type in ('queue.changed', 'pattern.changed')`;
    expect(await rowsOf(database, sql)).toEqual([{ actor: 'file' }]);
    await replica.terminate();
    expect((await replica.ended).exitCode).toBe(0);
  });

  it('takes away with QUEUES_FILE_PRUNE what it had and has no more', async () => {
    const { serve } = await replicas();
    await writeFile(path, 'queues:\n  a: {}\n  b: {}\n');
    await using replica = await serve({ QUEUES_FILE_PRUNE: 'true' });
    const client = new TestClient((await replica.line(listens))[1] ?? '');
    await writeFile(path, 'queues:\n  b: {}\n');
    await until(async () => (await client.queue('a')).status === 404, { what: 'a is gone' });
    expect((await client.queue('b')).status).toBe(200);
  });

  it('that is not usable keeps a replica from starting: exit code 2, all problems told, nothing written', async () => {
    const { database, serve } = await replicas();
    await writeFile(path, 'queues:\n  a: { concurrency_limit: many }\n  b c: {}\n');
    await using refused = await serve();
    expect((await refused.ended).exitCode).toBe(2);
    expect(refused.output).toContain(`QUEUES_FILE: ${path}, line 2: a: concurrency_limit`);
    expect(refused.output).toContain(`QUEUES_FILE: ${path}, line 3: b c: `);
    // One that contradicts what the database has is found only then.
    await database.query(`select signalbox_v1.configure('a', '{"max_ttl_ms": 60000}')`);
    await writeFile(path, 'queues:\n  a: { default_ttl_ms: 90000 }\n  b: {}\n');
    await using contradicting = await serve();
    expect((await contradicting.ended).exitCode).toBe(2);
    expect(contradicting.output).toContain('line 2: a: default_ttl_ms 90000 is longer than max_ttl_ms 60000');
    expect(contradicting.output).not.toMatch(listens);
    expect(await oneOf(database, 'select count(*)::int as count from signalbox.queues')).toEqual({ count: 1 });
  });

  it('of three replicas that start at once is applied as if there were one', async () => {
    const { database, serve } = await replicas();
    await writeFile(path, 'queues:\n  a: { concurrency_limit: 3 }\npatterns:\n  a*: { max_attempts: 2 }\n');
    const started = await Promise.all([serve(), serve(), serve()]);
    try {
      await Promise.all(started.map((replica) => replica.line(listens)));
      const sql = `select max_attempts, concurrency_limit from signalbox_v1.queues`;
      expect(await rowsOf(database, sql)).toEqual([{ max_attempts: 2, concurrency_limit: 3 }]);
    } finally {
      await Promise.all(started.map((replica) => replica[Symbol.asyncDispose]()));
    }
  });
});

describe('the keeper of the file', () => {
  async function keeperOn(target: Partial<ApplyTarget>) {
    await writeFile(path, 'queues:\n  a: {}\n');
    const events: QueuesFileEvent[] = [];
    const nothing = { label: 'queues.yaml', made: { queues: {}, patterns: [], merge_queues: [] }, version: 0 };
    const whole = {
      appliedFile: async () => nothing,
      recordApplied: async () => nothing,
      getQueue: async () => undefined,
      configureQueue: async () => undefined,
      ...target,
    } as unknown as ApplyTarget;
    const file = await readQueuesFile({ path, prune: false }, {});
    const keeper = new QueuesFileKeeper({ file, target: whole, onEvent: (event) => events.push(event), everyMs: 10 });
    onTestFinished(() => keeper.stop());
    return { keeper, events };
  }

  it('asks again a database that is away, when it starts and later', async () => {
    let failures = 1;
    const { keeper, events } = await keeperOn({
      configureQueue: async () => {
        if (failures-- > 0) throw new SignalboxError('database_unavailable');
      },
    });
    await keeper.start();
    failures = 1;
    await writeFile(path, 'queues:\n  a: { paused: true }\n');
    await until(() => events.length === 4, { what: 'the change is applied' });
    expect(events.map(({ kind }) => kind)).toEqual(['failed', 'applied', 'failed', 'applied']);
  });

  it('starts and stops once, and a file that goes away changes nothing', async () => {
    const { keeper, events } = await keeperOn({});
    await Promise.all([keeper.start(), keeper.start()]);
    await rm(path);
    await until(() => events.length === 2, { what: 'the file is missed' });
    expect(events[1]).toMatchObject({ kind: 'refused', problems: [expect.stringContaining('cannot be read')] });
    await Promise.all([keeper.stop(), keeper.stop()]);
  });

  it('a file that is not there is a problem of the settings', async () => {
    await expect(readQueuesFile({ path: join(folder, 'no.yaml'), prune: false }, {})).rejects.toThrow(SettingsError);
  });
});
