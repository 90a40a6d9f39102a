import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { programVersion } from '../../src/runtime/version.ts';
import { freshDatabase } from '../support/database.ts';
import { startTestApp } from '../support/test-app.ts';

const run = promisify(execFile);
const root = join(import.meta.dirname, '../..');
let project: string;
let installed: string;

/** Somebody else's project with the packed package in its node_modules, unpacked as npm does, beside its dependencies. */
beforeAll(async () => {
  project = await mkdtemp(join(tmpdir(), 'signalbox-package-'));
  installed = join(project, 'node_modules/signalbox');
  await mkdir(installed, { recursive: true });
  for (const name of await readdir(join(root, 'node_modules'))) {
    if (!name.startsWith('.')) await symlink(join(root, 'node_modules', name), join(project, 'node_modules', name));
  }
  const { stdout } = await run('npm', ['pack', '--silent', '--pack-destination', project], { cwd: root });
  const tarball = stdout.trim().split('\n').at(-1) ?? '';
  await run('tar', ['-xzf', join(project, tarball), '-C', installed, '--strip-components=1']);
});

afterAll(async () => {
  await rm(project, { recursive: true, force: true });
  await rm(join(root, 'dist'), { recursive: true, force: true });
});

describe('the packed package', () => {
  it('holds the program, the client, the migrations, and no sources or tests', async () => {
    expect((await readdir(installed)).sort()).toEqual([
      'CHANGELOG.md',
      'LICENSE',
      'README.md',
      'dist',
      'migrations',
      'package.json',
    ]);
  });

  it('runs as a program from inside node_modules', async () => {
    const { stdout } = await run(process.execPath, [join(installed, 'dist/main.js'), '--version'], { cwd: project });
    expect(stdout.trim()).toBe(programVersion);
  });

  it('gives others the client, and its run command finds its watchdog', async () => {
    await using database = await freshDatabase();
    await using app = await startTestApp(database);
    await writeFile(
      join(project, 'user.mjs'),
      `import { SignalboxClient, withLease } from 'signalbox/client';
       const client = new SignalboxClient({ url: process.argv[2] });
       await withLease(client, { queue: 'packed', ttlMs: 30000 }, async ({ fencingToken }) => console.log('holds', fencingToken > 0));`,
    );
    const user = await run(process.execPath, ['user.mjs', app.url], { cwd: project });
    expect(user.stdout).toBe('holds true\n');
    const program = join(installed, 'dist/main.js');
    const args = [program, 'run', '--url', app.url, '--queue', 'packed', '--', 'sh', '-c', 'echo slot $SIGNALBOX_SLOT'];
    expect((await run(process.execPath, args, { cwd: project })).stdout).toBe('slot 1\n');
  });
});
