import { readdir, readFile, stat } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findServerOwner } from '../../src/store/embedded/server-owner.ts';
import { BackgroundProcess } from '../support/background-process.ts';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { leaveOut, readCompose, readText, replicasOf, root } from '../support/deployment.ts';
import {
  assembleImage,
  type Image,
  ignoreRules,
  imageStage,
  last,
  readCopy,
  readStages,
  RunFailed,
  words,
} from '../support/image.ts';
import { listening } from '../support/replica.ts';

const stages = readStages(await readText('Dockerfile'));
const isSent = ignoreRules(await readText('.dockerignore'));
const copied = stages
  .flatMap(({ instructions }) => instructions)
  .filter(({ verb }) => verb === 'COPY')
  .map(({ rest }) => readCopy(rest))
  .filter(({ from }) => from === undefined)
  .flatMap(({ sources }) => sources);

describe('the Dockerfile', () => {
  it('copies what is there and what .dockerignore lets through', async () => {
    expect(new Set(copied)).toEqual(
      new Set(['package.json', 'package-lock.json', '.npmrc', 'LICENSE', 'migrations', 'src']),
    );
    for (const source of copied) {
      await stat(join(root, source));
      expect(isSent(source), source).toBe(true);
    }
  });

  it.each([
    '.git/config',
    '.env',
    'src/.env',
    'src/.env.local',
    '.signalbox/x',
    'node_modules/pg',
    'test/x.ts',
    'deploy',
  ])('is not sent %s', (path) => expect(isSent(path)).toBe(false));

  it('copies no credential with .npmrc', async () => {
    expect(await readText('.npmrc')).not.toMatch(/_auth|password|token|registry\s*=/i);
  });

  it('runs as a user who is not root, stops by SIGTERM, and each stage has the Node that package.json asks for', async () => {
    const image = imageStage(stages);
    expect(last(image, 'USER')).toMatch(/^[1-9]\d*:[1-9]\d*$/);
    expect(last(image, 'STOPSIGNAL')).toBe('SIGTERM');
    const { engines } = JSON.parse(await readText('package.json')) as { engines: { node: string } };
    for (const { base } of stages) expect(base).toBe(`node:${engines.node.replace('>=', '')}-alpine`);
  });
});

/** The image, put together by the Dockerfile's own instructions; undefined = npm cannot reach its registry. */
async function assembled(): Promise<Image | undefined> {
  try {
    return await assembleImage();
  } catch (error) {
    if (!(error instanceof RunFailed) || !/ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|ENETUNREACH/.test(error.output))
      throw error;
    leaveOut('running the image', 'npm ci does not reach a registry');
    return undefined;
  }
}

describe('the image, assembled without an engine,', () => {
  let image: Image | undefined;
  let database: TestDatabase;
  let files: string[];

  beforeAll(async () => {
    [image, database] = await Promise.all([assembled(), freshDatabase()]);
    if (image === undefined) return;
    const { directory } = image;
    const entries = await readdir(directory, { recursive: true, withFileTypes: true });
    files = entries
      .filter((entry) => entry.isFile())
      .map((entry) => relative(directory, join(entry.parentPath, entry.name)));
  }, 180_000);

  afterAll(async () => {
    await image?.[Symbol.asyncDispose]();
    await database[Symbol.asyncDispose]();
  });

  /** The entry point with other arguments than CMD's, as a user who owns none of the files. */
  const start = async (made: Image, args: readonly string[], env: Record<string, string | undefined> = {}) => {
    const [program = '', ...first] = words(last(made.stage, 'ENTRYPOINT'));
    return BackgroundProcess.start(program, [...first, ...args], {
      cwd: made.workDirectory,
      env: { ...made.environment, PORT: '0', DATABASE_URL: database.directUrl, ...env },
      ...(await findServerOwner()),
    });
  };
  const command = () => words(last(imageStage(stages), 'CMD'));
  const health = async (made: Image, url: string) => {
    const [form, rest] = last(made.stage, 'HEALTHCHECK').split(/ CMD /);
    const [program = '', ...args] = words(rest ?? form ?? '');
    const env = { ...made.environment, PORT: new URL(url).port };
    await using check = await BackgroundProcess.start(program, args, { cwd: made.workDirectory, env });
    return (await check.ended).exitCode;
  };

  it('holds the sources, the migrations and the packages of a replica, and nothing else', async ({ skip }) => {
    if (image === undefined) return skip();
    const own = files.filter((file) => !file.startsWith('app/node_modules/'));
    expect(own.filter((file) => !/^app\/(package\.json|LICENSE|src\/.*\.ts|migrations\/.*\.sql)$/.test(file))).toEqual(
      [],
    );
    const lock = JSON.parse(await readText('package-lock.json')) as {
      packages: Record<string, { dev?: true; optional?: true; devOptional?: true }>;
    };
    const wanted = Object.entries(lock.packages)
      .filter(([place, { dev, optional, devOptional }]) => place !== '' && !dev && !optional && !devOptional)
      .map(([place]) => `app/${place}/package.json`);
    const got = files.filter((file) => /node_modules\/(@[^/]+\/)?[^@/.][^/]*\/package\.json$/.test(file));
    expect(new Set(got.filter((file) => wanted.includes(file)))).toEqual(new Set(wanted));
    const tops = new Set(wanted.map((file) => file.replace('/package.json', '')));
    const strangers = files.filter(
      (file) => file.startsWith('app/node_modules/') && ![...tops].some((top) => file.startsWith(`${top}/`)),
    );
    expect(strangers.filter((file) => file !== 'app/node_modules/.package-lock.json')).toEqual([]);
    const sizes = await Promise.all(files.map(async (file) => (await stat(join(image?.directory ?? '', file))).size));
    const megabytes = sizes.reduce((sum, size) => sum + size, 0) / 1e6;
    process.stdout.write(`image: ${wanted.length} packages, ${megabytes.toFixed(1)} MB above its base\n`);
    expect(megabytes).toBeLessThan(50);
  });

  it('runs CMD, is healthy while it lives and not while it hangs or is gone, and ends by STOPSIGNAL with 0', async ({
    skip,
  }) => {
    if (image === undefined) return skip();
    await using process = await start(image, command(), { SIGNALBOX_INSECURE: 'true' });
    const replica = await listening(process);
    const url = replica.url.replace('0.0.0.0', '127.0.0.1');
    expect(await health(image, url)).toBe(0);
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
    replica.pause();
    expect(await health(image, url)).toBe(1);
    replica.resume();
    expect(await health(image, url)).toBe(0);
    expect(await replica.terminate()).toBe(0);
    expect(await health(image, url)).toBe(1);
  });

  it('refuses to start open, and starts with the token that the command in docker-compose.yml makes', async ({
    skip,
  }) => {
    if (image === undefined) return skip();
    await using open = await start(image, command());
    expect((await open.ended).exitCode).toBe(2);

    const [, service = '', line = ''] =
      /docker compose exec (\S+) (.+)$/m.exec(await readText('docker-compose.yml')) ?? [];
    expect(replicasOf(await readCompose()).map(([name]) => name)).toContain(service);
    const entry = words(last(image.stage, 'ENTRYPOINT')).join(' ');
    expect(line.startsWith(`${entry} token create `)).toBe(true);
    await using making = await start(image, line.slice(entry.length + 1).split(' '));
    expect((await making.ended).exitCode).toBe(0);
    const [token = ''] = /^sbx_\S+$/m.exec(making.output) ?? [];

    await using process = await start(image, command());
    const url = (await listening(process)).url.replace('0.0.0.0', '127.0.0.1');
    expect(await health(image, url)).toBe(0);
    expect((await fetch(`${url}/v1/queues`)).status).toBe(401);
    expect((await fetch(`${url}/v1/queues`, { headers: { authorization: `Bearer ${token}` } })).status).toBe(200);
  });

  it('brings the migrations along: they make an empty database usable', async ({ skip }) => {
    if (image === undefined) return skip();
    expect(files.filter((file) => file.endsWith('.sql')).length).toBeGreaterThan(10);
    await using pending = await start(image, ['migrate', '--pending']);
    expect((await pending.ended).exitCode).toBe(0);
    expect(pending.output).toContain('nothing is pending');
    expect(await readFile(join(image.workDirectory, 'package.json'), 'utf8')).toBe(await readText('package.json'));
  });
});
