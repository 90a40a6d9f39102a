import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readSettings } from '../../src/config/settings.ts';
import { applyConfiguredQueues } from '../../src/merge-queue/configured-queues.ts';
import { type MergeQueueId, type MergeQueueSettings, mergeQueueId } from '../../src/protocol/merge-queue.ts';
import { Database } from '../../src/store/database.ts';
import { configureMergeQueue } from '../../src/store/merge-queues.ts';
import { BackgroundProcess } from '../support/background-process.ts';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { anId } from '../support/http-client.ts';

const { defaults } = readSettings({}).mergeQueue;
let database: TestDatabase;
let db: Database;
let id: MergeQueueId;

beforeAll(async () => {
  database = await freshDatabase();
  db = openDatabase();
});
afterAll(async () => {
  await db.stop();
  await database[Symbol.asyncDispose]();
});

function openDatabase(): Database {
  return new Database({ url: database.url, connectTimeoutMs: 3000, statementTimeoutMs: 10_000 });
}

function another(): MergeQueueId {
  const made = mergeQueueId('acme', anId('repo').replace('/', '-'), 'release/1.x');
  if (made === undefined) throw new Error('this names no merge queue');
  return (id = made);
}

function configured(change: Partial<MergeQueueSettings> = {}) {
  return [{ id, settings: { ...defaults, ...change } }];
}

async function row(): Promise<Record<string, unknown> | undefined> {
  const { rows } = await database.query(
    `select q.*, q.xmin::text as written_by from signalbox.merge_queues q where q.queue = $1`,
    [id.name],
  );
  return rows[0];
}

async function changes(): Promise<readonly unknown[]> {
  const { rows } = await database.query<{ data: { actor: string } }>(
    `select data from signalbox_v1.recent_events where queue = $1 and type = 'merge_queue.changed'`,
    [id.name],
  );
  return rows.map(({ data }) => data.actor);
}

describe('merge queues of the file', () => {
  it('are made with all their settings, in the name of the file', async () => {
    another();
    expect(await applyConfiguredQueues(db, configured({ ttl_ms: 5000, require_token: true }))).toEqual([id.name]);
    expect(await row()).toMatchObject({
      owner: 'acme',
      base_ref: 'release/1.x',
      ttl_ms: '5000',
      require_token: true,
      expected_count: defaults.expected_count,
      auto_created: false,
    });
    expect(await changes()).toEqual(['file']);
  });

  it('that are so already are not written to', async () => {
    another();
    await applyConfiguredQueues(db, configured({ hold_ttl_ms: 1000 }));
    const before = await row();
    expect(await applyConfiguredQueues(db, configured({ hold_ttl_ms: 1000 }))).toEqual([]);
    expect(await row()).toEqual(before);
    expect(await changes()).toEqual(['file']);
  });

  it('are set so again if somebody has changed them, and live at once', async () => {
    another();
    await applyConfiguredQueues(db, configured());
    await configureMergeQueue(db, id, { ttl_ms: 1 }, { defaults, ifVersion: undefined, actor: 'me' });
    expect(await applyConfiguredQueues(db, configured())).toEqual([id.name]);
    expect(await row()).toMatchObject({ ttl_ms: `${defaults.ttl_ms}`, settings_version: '3' });
    expect(await changes()).toEqual(['file', 'me', 'file']);
  });

  it('that were made on first use count as configured from then on, their builds stay', async () => {
    another();
    await database.query(
      `insert into signalbox.merge_queues (queue, owner, repo, base_ref, stabilisation_ms, ttl_ms, expected_count,
         delay_count, window_started_at, used_at, created_at, updated_at)
       values ($1, $2, $3, $4, $5, $6, $7, $8, now(), now(), now(), now())`,
      [
        id.name,
        id.owner,
        id.repo,
        id.baseRef,
        defaults.stabilisation_ms,
        defaults.ttl_ms,
        defaults.expected_count,
        defaults.delay_count,
      ],
    );
    await database.query(
      `insert into signalbox.merge_requests (queue, head_sha, head_ref, priority, status, last_seen_at, is_known)
       values ($1, 'sha', 'ref', 1, 'pending', now(), true)`,
      [id.name],
    );
    expect(await applyConfiguredQueues(db, configured())).toEqual([id.name]);
    expect(await row()).toMatchObject({ auto_created: false });
    const { rowCount } = await database.query('select from signalbox.merge_requests where queue = $1', [id.name]);
    expect(rowCount).toBe(1);
  });

  it('are written once when eight replicas start at the same time', async () => {
    another();
    const replicas = Array.from({ length: 8 }, openDatabase);
    try {
      await Promise.all(replicas.map((replica) => applyConfiguredQueues(replica, configured())));
    } finally {
      await Promise.all(replicas.map((replica) => replica.stop()));
    }
    expect(await row()).toMatchObject({ settings_version: '1' });
    expect(await changes()).toEqual(['file']);
  });
});

describe('MERGE_QUEUE_CONFIG_FILE', () => {
  let folder: string;
  let path: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'signalbox-configured-'));
    path = join(folder, 'config.yaml');
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  const serve = (env: Record<string, string>) =>
    BackgroundProcess.node(join(import.meta.dirname, '../../src/main.ts'), ['serve'], {
      env: {
        DATABASE_URL: database.url,
        DATABASE_DIRECT_URL: database.directUrl,
        PORT: '0',
        MERGE_QUEUE_CONFIG_FILE: path,
        ...env,
      },
    });

  it('is applied when a replica says that it listens, its variables filled from the environment', async () => {
    another();
    const entry = `{ owner: acme, name: \${REPO}, base_ref: release/1.x, expected_request_count: \${COUNT:-7} }`;
    await writeFile(path, `repositories:\n  - ${entry}\n  - { owner: acme, name: other, base_ref: main }\n`);
    await using replica = await serve({ REPO: id.repo, MERGE_QUEUE_TTL_MS: '90000' });
    await replica.line(/^Signalbox listens on /);
    expect(await row()).toMatchObject({ expected_count: 7, ttl_ms: '90000' });
    expect(await replica.terminate()).toMatchObject({ exitCode: 0 });
  });

  it('with mistakes ends the start with exit 2, all of them told, and nothing is made', async () => {
    another();
    const entry = `{ owner: acme, name: ${id.repo}, base_ref: release/1.x }`;
    await writeFile(path, `repositories:\n  - ${entry}\n  - { owner: acme, ttl_seconds: 0 }\nport: \${NO_PORT}\n`);
    await using replica = await serve({});
    expect(await replica.ended).toMatchObject({ exitCode: 2 });
    for (const problem of [
      'line 3: name is missing',
      'line 3: ttl_seconds must',
      'line 4: port',
      'line 4: the variable',
    ])
      expect(replica.output).toContain(`${path}, ${problem}`);
    expect(await row()).toBeUndefined();
  });
});
