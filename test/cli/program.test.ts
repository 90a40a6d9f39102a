import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { programVersion } from '../../src/runtime/version.ts';
import { BackgroundProcess } from '../support/background-process.ts';
import { emptyDatabase, freshDatabase, type TestDatabase } from '../support/database.ts';

const program = join(import.meta.dirname, '../../src/main.ts');

// The directory has no .signalbox: a command that wrongly goes for the embedded server is seen, and harms nothing.
let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'signalbox-cli-'));
});
afterAll(() => rm(directory, { recursive: true }));

type Environment = Record<string, string | undefined>;
const start = (args: readonly string[], env: Environment = {}) =>
  BackgroundProcess.node(program, args, {
    cwd: directory,
    env: { DATABASE_URL: undefined, DATABASE_DIRECT_URL: undefined, HOST: undefined, PORT: '0', ...env },
  });

async function run(
  args: readonly string[],
  env: Environment = {},
): Promise<{ exitCode: number | null; output: string }> {
  await using child = await start(args, env);
  const { exitCode } = await child.ended;
  return { exitCode, output: child.output };
}
const on = (database: TestDatabase) => ({ DATABASE_URL: database.url, DATABASE_DIRECT_URL: database.directUrl });

describe('arguments', () => {
  it('--help names the commands and exits 0', async () => {
    const { exitCode, output } = await run(['--help']);
    expect(exitCode).toBe(0);
    expect(output).toMatch(/\n\s+serve /);
    expect(output).toMatch(/\n\s+migrate /);
    expect(output).toMatch(/\n\s+dead-letters /);
    expect(output).toMatch(/\n\s+blocked /);
    expect(output).toMatch(/\n\s+merge-queue /);
  });

  it('--version prints the version and exits 0', async () => {
    expect(await run(['--version'])).toEqual({ exitCode: 0, output: `${programVersion}\n` });
  });

  it.each([['nonsense'], ['serve --nonsense'], ['migrate --pendin'], ['serve too many']])(
    '"%s" is not usable: exit 2, and says why',
    async (line) => {
      const { exitCode, output } = await run(line.split(' '));
      expect(exitCode).toBe(2);
      expect(output).toMatch(/^error: /m);
    },
  );
});

describe('settings', () => {
  it('that are not usable end serve and migrate with exit 2 and all problems, before anything is touched', async () => {
    const bad = { LEADER_LEASE_SECONDS: '0', PORT: 'http', SIGNALBOX_TYPO: '1' };
    for (const command of ['serve', 'migrate']) {
      const { exitCode, output } = await run([command], bad);
      expect(exitCode).toBe(2);
      for (const name of Object.keys(bad)) expect(output).toContain(`  ${name}: `);
    }
  });

  it('a HOST that others can reach is refused without tokens: exit 2, naming the way out', async () => {
    await using database = await freshDatabase();
    const { exitCode, output } = await run(['serve'], { ...on(database), HOST: '0.0.0.0' });
    expect(exitCode).toBe(2);
    expect(output).toContain('SIGNALBOX_INSECURE=true');
    expect(output).not.toContain('Signalbox listens on');
  });
});

describe('migrate', () => {
  it('--pending lists what is to do and exits 1, migrate does it, then nothing is pending and it exits 0', async () => {
    await using database = await emptyDatabase();
    const tables = async () =>
      (await database.query(`select from pg_namespace where nspname like 'signalbox%'`)).rowCount;

    const before = await run(['migrate', '--pending'], on(database));
    expect(before.exitCode).toBe(1);
    expect(before.output).toMatch(/^pending {4}0001_/m);
    expect(before.output).toMatch(/^pending {4}functions and views$/m);
    expect(await tables()).toBe(0);

    const done = await run(['migrate'], on(database));
    expect(done.exitCode).toBe(0);
    expect(done.output).toMatch(/^applied [1-9]\d* migrations and the functions$/m);
    expect(await tables()).toBe(2);

    expect(await run(['migrate', '--pending'], on(database))).toEqual({
      exitCode: 0,
      output: 'nothing is pending\n',
    });
    expect(await run(['migrate'], on(database))).toMatchObject({ exitCode: 0 });
  });

  it('of a database that cannot be reached exits 1 with the reason', async () => {
    const { exitCode, output } = await run(['migrate'], { DATABASE_URL: 'postgres://127.0.0.1:1/nowhere' });
    expect(exitCode).toBe(1);
    expect(output).toMatch(/^signalbox: .+/m);
  });
});

describe('a schema of a newer program', () => {
  const add = (database: TestDatabase, name: string) =>
    database.query(`insert into signalbox.schema_migrations (name, timestamp) values ($1, '2030-01-01')`, [name]);

  it('past a breaking migration ends serve and migrate with exit 4, and names it', async () => {
    await using database = await freshDatabase();
    await add(database, '9999_all_new.breaking');
    for (const args of [['serve'], ['migrate'], ['migrate', '--pending']]) {
      const { exitCode, output } = await run(args, on(database));
      expect(exitCode).toBe(4);
      expect(output).toContain('9999_all_new.breaking');
    }
  });

  it('without one is used as it is', async () => {
    await using database = await freshDatabase();
    await add(database, '9999_more');
    const { exitCode, output } = await run(['migrate'], on(database));
    expect(exitCode).toBe(0);
    expect(output).toContain('9999_more');
    await using serving = await start(['serve'], on(database));
    await serving.line(/^Signalbox listens on http:\/\/127\.0\.0\.1:\d+$/);
  });
});

describe('serve', () => {
  it.each(['SIGTERM', 'SIGINT'] as const)('ends with exit 0 on %s', async (signal) => {
    await using database = await freshDatabase();
    await using serving = await start(['serve'], on(database));
    await serving.line(/^Signalbox listens on /);
    process.kill(serving.pid, signal);
    expect(await serving.ended).toEqual({ exitCode: 0, signal: null });
  });

  it('waits for a database that cannot be reached, and SIGTERM ends the wait with exit 0', async () => {
    await using serving = await start(['serve'], { DATABASE_URL: 'postgres://127.0.0.1:1/nowhere' });
    await serving.line(/cannot be reached/);
    expect(await serving.terminate()).toEqual({ exitCode: 0, signal: null });
  });
});
