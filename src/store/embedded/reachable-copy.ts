import { chmod, cp, lstat, mkdtemp, readdir, readFile, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import type { Binaries } from './binaries.ts';
import { EmbeddedServerError, errorCode } from './errors.ts';

/**
 * Copies the whole `native` directory of the programs (they need their libraries beside them) to a world-readable place
 * in the temporary directory, once per version. The copy appears by a rename: nobody ever sees half of it.
 */
export async function reachableCopy(binaries: Binaries): Promise<Binaries> {
  const source = dirname(dirname(binaries.postgres));
  const target = join(tmpdir(), `signalbox-${await versionedName(source)}`);
  if (!(await isOurs(target))) await copyTree(source, target);
  const inTarget = (file: string) => join(target, 'bin', basename(file));
  return {
    initdb: inTarget(binaries.initdb),
    pg_ctl: inTarget(binaries.pg_ctl),
    postgres: inTarget(binaries.postgres),
  };
}

async function versionedName(source: string): Promise<string> {
  const manifest: unknown = JSON.parse(await readFile(join(dirname(source), 'package.json'), 'utf8'));
  const { name, version } = manifest as { name: string; version: string };
  return `${name}-${version}`.replace(/[^A-Za-z0-9.]+/g, '-').replace(/^-/, '');
}

/** The name can be guessed and the place is open to all, so programs are run from there only if this user put them. */
async function isOurs(target: string): Promise<boolean> {
  try {
    const found = await lstat(target);
    if (found.isDirectory() && found.uid === process.getuid?.() && (found.mode & 0o022) === 0) return true;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return false;
    throw error;
  }
  throw new EmbeddedServerError('binaries_unusable', `${target} belongs to somebody else; remove it and start again`);
}

async function copyTree(source: string, target: string): Promise<void> {
  const draft = await mkdtemp(`${target}-`);
  try {
    // `verbatimSymlinks`: the links between library versions stay relative.
    await cp(source, draft, { recursive: true, verbatimSymlinks: true });
    await openToAll(draft);
    await rename(draft, target);
  } catch (error) {
    await rm(draft, { recursive: true, force: true });
    // Another process was first: its copy is as good.
    if (['ENOTEMPTY', 'EEXIST'].includes(errorCode(error) ?? '') && (await isOurs(target))) return;
    throw error;
  }
}

async function openToAll(directory: string): Promise<void> {
  for (const entry of await readdir(directory, { withFileTypes: true, recursive: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isDirectory()) await chmod(path, 0o755);
    else if (entry.isFile()) await chmod(path, ((await lstat(path)).mode & 0o100) === 0 ? 0o644 : 0o755);
  }
  await chmod(directory, 0o755);
}
