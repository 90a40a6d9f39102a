import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readMergeQueueFile } from '../src/config/merge-queue-file.ts';
import { parseQueuesFile } from '../src/config/queues-file.ts';
import { readSettings, settingNames } from '../src/config/settings.ts';
import { WaitingFor } from '../src/protocol/claims.ts';
import { errorCatalogue } from '../src/protocol/errors.ts';
import { EventType } from '../src/protocol/events.ts';
import { BackgroundProcess } from './support/background-process.ts';

const root = join(import.meta.dirname, '..');
const readme = await readFile(join(root, 'README.md'), 'utf8');
const run = promisify(execFile);

/** The fenced blocks of one language, in order. */
function blocks(language: string): string[] {
  return [...readme.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, 'gm'))].map(
    (match) => match[1] ?? '',
  );
}

/** Rows of the table below a header line, as cells. */
function table(header: string): string[][] {
  const from = readme.indexOf(`| ${header} `);
  if (from < 0) throw new Error(`the README has no table that begins with ${header}`);
  return readme
    .slice(from)
    .replace(/\n\n[\s\S]*/, '')
    .split('\n')
    .slice(2)
    .map((line) => line.split(/(?<!\\)\|/).map((cell) => cell.trim()))
    .map((cells) => cells.slice(1, -1));
}

describe('the tables of the README', () => {
  it('list exactly the error codes of the catalogue, with their status', () => {
    const listed = table('code').map(([code, status]) => [code?.replaceAll('`', ''), Number(status)]);
    const known = Object.entries(errorCatalogue).map(([code, { status }]) => [code, status]);
    expect(listed).toEqual(known);
  });

  it('list exactly the settings, with their defaults', () => {
    const rows = table('name');
    expect(rows.map(([name]) => name?.replaceAll('`', ''))).toEqual(settingNames);
    const environment = Object.fromEntries(
      rows
        .map(([name = '', fallback = '']) => [name.replaceAll('`', ''), fallback] as const)
        .filter(([name, fallback]) => fallback.startsWith('`') && name !== 'DATABASE_DIRECT_URL')
        .map(([name, fallback]) => [name, fallback.replaceAll('`', '')]),
    );
    expect(readSettings(environment)).toEqual(readSettings({}));
  });
});

/** What the first cells of a table name, in backquotes. */
function named(header: string): string[] {
  return table(header).flatMap(([cell = '']) => [...cell.matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? ''));
}

it('the table of events lists exactly those that there are', () => {
  expect(named('event').sort()).toEqual([...EventType.options].sort());
});

it('the table of what is waited for lists exactly the words that there are', () => {
  expect(named('`waiting_for` value').sort()).toEqual([...WaitingFor.options].sort());
});

describe('the file of merge queues in the README', () => {
  it('is one that a replica takes', async () => {
    const content = blocks('yaml').find((block) => block.startsWith('repositories:')) ?? '';
    const folder = await mkdtemp(join(tmpdir(), 'signalbox-readme-file-'));
    const path = join(folder, 'config.yaml');
    await writeFile(path, content);
    const { defaults } = readSettings({}).mergeQueue;
    const queues = readMergeQueueFile(path, { environment: {}, defaults });
    await rm(folder, { recursive: true });
    expect(queues).toMatchObject([
      { id: { name: 'merge-queue/acme/shop/main' }, settings: { hold_ttl_ms: 7_200_000 } },
    ]);
  });
});

describe('the file of queues in the README', () => {
  it('is one that apply takes', () => {
    const content = blocks('yaml').find((block) => block.startsWith('label:')) ?? '';
    const file = parseQueuesFile('queues.yaml', content, {});
    expect([...file.patterns]).toEqual([['repo/*', { concurrency_limit: 3 }]]);
    expect([...file.queues.keys(), ...file.mergeQueues.keys()]).toEqual([
      'deploy/production',
      'repo/big',
      'acme/shop/main',
    ]);
  });
});

/**
 * Commands that a test of their own runs, or that cannot run inside a test run. Everything else in a sh block runs below,
 * against a replica started with the README's own command.
 */
const runElsewhere: Record<string, string> = {
  'npm ci && npm start': 'npm ci would remove the modules this test runs from; npm start is the replica of this test',
  'npm run demo': 'test/scenario/demo.test.ts',
  'npm run check': 'the first half of npm test, which runs this test',
  'npm test': 'it runs this test',
};

describe('the commands of the README', () => {
  let dataDir: string;
  let replica: BackgroundProcess;
  let url: string;
  let databaseUrl: string;
  let environment: NodeJS.ProcessEnv;

  beforeAll(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'signalbox-readme-'));
    environment = { ...process.env, DATABASE_URL: '', SIGNALBOX_DATA_DIR: dataDir, PORT: '0', LOG_LEVEL: 'warn' };
    replica = await BackgroundProcess.start('npm', ['start'], { cwd: root, env: environment });
    url = (await replica.line(/Signalbox listens on (\S+)/))[1] ?? '';
    databaseUrl = (await replica.line(/psql "([^"]+)"/))[1] ?? '';
  });

  afterAll(async () => {
    await replica.terminate();
    await rm(dataDir, { recursive: true, force: true });
  });

  // First: the commands make a token, without which /metrics is closed from then on.
  it('meet a replica whose metrics are exactly those of the table', async () => {
    const metrics = await (await fetch(`${url}/metrics`)).text();
    const ours = [...metrics.matchAll(/^# TYPE (signalbox_\w+) /gm)].map((match) => match[1] ?? '');
    const own = ours.filter((name) => !/^signalbox_(process|nodejs)_/.test(name));
    expect(named('metric').sort()).toEqual(own.sort());
  });

  it('answer as the README shows: acquire, renew, release, check, migrate', async () => {
    let output = '';
    const commands = blocks('sh').flatMap((block) => {
      const left = block.split('\n').filter((line) => line !== '' && !(line in runElsewhere));
      return left.length === 0 ? [] : [left.join('\n')];
    });
    expect(commands.length).toBeGreaterThanOrEqual(4);
    for (const command of commands) {
      const script = `set -eu\n${command.replaceAll('http://127.0.0.1:8080', url)}`;
      const { stdout } = await run('bash', ['-c', script], { cwd: root, env: environment });
      output += `${stdout}\n`;
    }
    expect(output).toContain('"state":"held"');
    expect(output).toMatch(/"ttl_remaining_ms":\d+.*\n?.*\{"released":true\}/s);
    expect(output).toMatch(/"kind":"run".*"payload":\{"to": "ann@example.org"\}/s);
    expect(output).toContain('"released":true,"state":"delayed"');
    expect(output).toMatch(/\{"results":\[\{"status":200,.*\{"status":201,.*\{"status":404,/);
    expect(output).toMatch(/"status":"pending"\},"position":1,"waiting_for":"stabilisation"/);
    expect(output).toMatch(/"status":"acquired"\},"stacked_pull_requests":\[\{"number":17\}\],"fencing_token":\d+/);
    expect(output).toMatch(/^acme\/shop\/main +held +9c1f /m);
    expect(output).toContain('cleared acme/shop/main: 1 build');
    expect(output).toMatch(/Acquired after .*\nThe lease is renewed .*\n(?:.*\n)*?Released: completed/);
    expect(output).toContain('"current":false');
    expect(output).toContain('nothing is pending');
    // Some thirty processes, one after another.
  }, 90_000);

  it('in SQL run as they stand', async () => {
    const client = new pg.Client({ connectionString: databaseUrl });
    await client.connect();
    try {
      await client.query('create table my_resource (id int primary key, value text, fencing_token bigint not null)');
      await client.query(`insert into my_resource values (1, 'old', 0)`);
      await client.query('create table my_orders (id int primary key, customer text)');
      const results: pg.QueryResult[] = [];
      for (const block of blocks('sql')) {
        for (const statement of block.split(/;\s*$/m).filter((text) => text.trim() !== '')) {
          results.push(await client.query(statement));
        }
      }
      expect(results.find(({ command }) => command === 'UPDATE')?.rowCount).toBe(1);
      expect(results.map(({ rows }) => (rows[0] as { code?: string } | undefined)?.code).filter(Boolean)).toEqual([
        'held',
        'broken',
      ]);
    } finally {
      await client.end();
    }
  });
});
