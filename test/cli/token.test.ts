import { execFile } from 'node:child_process';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { emptyDatabase, freshDatabase, type TestDatabase } from '../support/database.ts';
import { anId } from '../support/http-client.ts';
import { startReplica } from '../support/replica.ts';
import { until } from '../support/until.ts';

const program = join(import.meta.dirname, '../../src/main.ts');

interface Run {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

const fewVariables = {
  PATH: process.env['PATH'],
  HOME: tmpdir(),
  NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'],
};

/** Runs the program to its end. */
function signalbox(args: readonly string[], env: Readonly<Record<string, string>>): Promise<Run> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [program, ...args],
      { env: { ...fewVariables, ...env }, timeout: 60_000 },
      (error, stdout, stderr) => {
        resolve({ code: error === null ? 0 : Number(error.code ?? -1), stdout, stderr });
      },
    );
  });
}

let database: TestDatabase;
beforeAll(async () => {
  database = await freshDatabase();
});
afterAll(async () => {
  await database[Symbol.asyncDispose]();
});

const token = (...args: string[]) =>
  signalbox(['token', ...args], { DATABASE_URL: database.url, DATABASE_DIRECT_URL: database.directUrl });
const tokenForm = /^sbx_([0-9a-f]{12})_[A-Za-z0-9_-]{43}\n$/;

describe('signalbox token create', () => {
  it('prints the token alone on stdout, says the rest on stderr, and keeps only its hash', async () => {
    const name = anId('ci');
    const made = await token(
      'create',
      '--name',
      name,
      '--scope',
      'use',
      '--queue-prefix',
      'ci/',
      '--expires-in',
      '90d',
    );
    expect(made.code).toBe(0);
    const [, tokenId = ''] = tokenForm.exec(made.stdout) ?? [];
    const secret = made.stdout.trim().slice(-43);
    expect(made.stderr).toContain(`token ${tokenId} of ${name}: scope use, queues that begin with ci/, expires `);
    expect(made.stderr).not.toContain(secret);
    const { rows } = await database.query<{ row: string; days: number; created_by: string }>(
      `select t::text || encode(t.token_hash, 'escape') as row, created_by,
         extract(epoch from expires_at - created_at)::integer / 86400 as days
       from signalbox.tokens t where token_id = $1`,
      [tokenId],
    );
    expect(rows).toHaveLength(1);
    expect(rows[0]?.days).toBe(90);
    expect(rows[0]?.created_by).toMatch(/^.+@.+$/);
    expect(rows[0]?.row).not.toContain(secret);
  });

  it.each([
    ['no name', ['--scope', 'use']],
    ['no scope', ['--name', 'x']],
    ['an unknown scope', ['--name', 'x', '--scope', 'root']],
    ['an empty name', ['--name', '', '--scope', 'use']],
    ['a prefix no queue can have', ['--name', 'x', '--scope', 'use', '--queue-prefix', 'a b']],
    ['a time without a unit', ['--name', 'x', '--scope', 'use', '--expires-in', '90']],
    ['a time of nothing', ['--name', 'x', '--scope', 'use', '--expires-in', '0d']],
    ['a time beyond ten years', ['--name', 'x', '--scope', 'use', '--expires-in', '3651d']],
    ['an argument too many', ['--name', 'x', '--scope', 'use', 'more']],
  ])('refuses %s with exit code 2, before it looks for a database', async (_title, args) => {
    const refused = await signalbox(['token', 'create', ...args], { DATABASE_URL: 'postgresql://127.0.0.1:1/none' });
    expect(refused).toMatchObject({ code: 2, stdout: '' });
  });

  it('works on a database that nobody has migrated yet, once with many at a time', async () => {
    await using empty = await emptyDatabase();
    const env = { DATABASE_URL: empty.directUrl };
    const before = await signalbox(['token', 'list'], env);
    expect(before).toMatchObject({ code: 1, stdout: '' });
    expect(before.stderr).toContain('run `signalbox migrate`');
    const made = await Promise.all(
      ['a', 'b', 'c'].map((name) => signalbox(['token', 'create', '--name', name, '--scope', 'read'], env)),
    );
    expect(made.map(({ code }) => code)).toEqual([0, 0, 0]);
    const { stdout } = await signalbox(['token', 'list', '--json'], env);
    expect((JSON.parse(stdout) as { name: string }[]).map(({ name }) => name).sort()).toEqual(['a', 'b', 'c']);
  });

  it('works on the embedded server, running or not', async () => {
    const dataDir = await mkdtemp(join(tmpdir(), 'signalbox-token-'));
    try {
      const made = await signalbox(['token', 'create', '--name', 'x', '--scope', 'admin'], {
        SIGNALBOX_DATA_DIR: dataDir,
      });
      expect(made.stdout).toMatch(tokenForm);
      await using replica = await startReplica({ env: { DATABASE_URL: undefined, SIGNALBOX_DATA_DIR: dataDir } });
      expect((await replica.client.ask('GET', '/v1/queues')).status).toBe(401);
      const listed = await signalbox(['token', 'list'], { SIGNALBOX_DATA_DIR: dataDir });
      expect(listed.stdout.split('\n')).toHaveLength(3);
      await replica.terminate();
    } finally {
      await rm(dataDir, { recursive: true, force: true });
    }
  });
});

describe('signalbox token list and revoke', () => {
  it.each([['list'], ['revoke', 'aaaaaaaaaaaa']])('%s where no server was ever started makes none', async (...args) => {
    const elsewhere = await mkdtemp(join(tmpdir(), 'signalbox-token-'));
    try {
      const refused = await signalbox(['token', ...args], { SIGNALBOX_DATA_DIR: join(elsewhere, 'none') });
      expect(refused).toMatchObject({ code: 1, stdout: '' });
      expect(refused.stderr).toMatch(
        /^signalbox: there is no database in .*none\. Run this in the folder of the replica/m,
      );
      expect(await readdir(elsewhere)).toEqual([]);
    } finally {
      await rm(elsewhere, { recursive: true, force: true });
    }
  });

  it('list shows every token and no secret; revoke ends one, again is fine, an unknown id is exit code 1', async () => {
    const made = (await token('create', '--name', 'to be revoked', '--scope', 'read')).stdout.trim();
    const tokenId = made.slice(4, 16);
    expect(await token('revoke', tokenId)).toMatchObject({ code: 0, stdout: '' });
    expect(await token('revoke', tokenId)).toMatchObject({ code: 0, stdout: '' });
    const unknown = await token('revoke', made);
    expect(unknown.code).toBe(1);
    expect(unknown.stderr).not.toContain(made.slice(-43));

    const table = (await token('list')).stdout;
    expect(table).toMatch(/^TOKEN_ID +NAME +SCOPE +QUEUE_PREFIX +STATE +CREATED +EXPIRES +LAST_USED\n/);
    expect(table).toMatch(new RegExp(`^${tokenId}  to be revoked +read +- +revoked `, 'm'));
    const json = (await token('list', '--json')).stdout;
    expect(JSON.parse(json)).toContainEqual(
      expect.objectContaining({ token_id: tokenId, name: 'to be revoked', scope: 'read', state: 'revoked' }),
    );
    expect(table + json).not.toMatch(/hash|\\x|sbx_/);
  });
});

describe('signalbox serve beyond loopback', () => {
  it('refuses to start without any token: exit code 2 and how to make one; with one it starts and asks for it', async () => {
    await using mine = await freshDatabase();
    const env = { DATABASE_URL: mine.url, DATABASE_DIRECT_URL: mine.directUrl, HOST: '0.0.0.0', PORT: '0' };
    const refused = await signalbox(['serve'], env);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain('HOST: 0.0.0.0 can be reached from other machines');
    expect(refused.stderr).toContain('signalbox token create');
    expect(refused.stdout).toBe('');

    const made = await signalbox(['token', 'create', '--name', 'ops', '--scope', 'admin'], env);
    await using replica = await startReplica({
      databaseUrl: mine.url,
      directUrl: mine.directUrl,
      env: { HOST: '0.0.0.0' },
    });
    const url = `${replica.url.replace('0.0.0.0', '127.0.0.1')}/v1/queues`;
    const ask = async (headers: Record<string, string>) => (await fetch(url, { headers })).status;
    expect(await ask({})).toBe(401);
    const authorization = `Bearer ${made.stdout.trim()}`;
    expect(await ask({ authorization })).toBe(200);

    expect((await signalbox(['token', 'revoke', made.stdout.slice(4, 16)], env)).code).toBe(0);
    await until(async () => (await ask({ authorization })) === 401, { what: 'the token is refused' });
    expect(replica.log).not.toContain(made.stdout.trim().slice(-43));
  });
});
