import { runCommand } from './command.ts';
import { EmbeddedServerError } from './errors.ts';

/** The system user the server runs as. PostgreSQL refuses to run as root. */
export interface ServerOwner {
  readonly uid: number;
  readonly gid: number;
}

const userName = 'postgres';

/**
 * null when this process is not root: the server then runs as the same user. As root: the system user `postgres`, made
 * if there is none. Call it under the lock of the data directory, so that it is made once.
 */
export async function findServerOwner(): Promise<ServerOwner | null> {
  if (process.getuid?.() !== 0) return null;
  const known = await lookUp();
  if (known !== null) return known;
  // Failures are judged by the second look: another data directory's process may have made the user meanwhile.
  const problems = [
    await attempt('groupadd', ['--system', '--force', userName]),
    await attempt('useradd', ['--system', '--gid', userName, '--no-create-home', '--shell', '/bin/false', userName]),
  ];
  const made = await lookUp();
  if (made !== null) return made;
  throw new EmbeddedServerError(
    'system_user_missing',
    `PostgreSQL does not run as root, and a system user "${userName}" could not be made ` +
      `(${problems.filter((problem) => problem !== '').join('; ')}). Create it, run as another user, or set DATABASE_URL.`,
  );
}

async function lookUp(): Promise<ServerOwner | null> {
  const [uid, gid] = [await attempt('id', ['-u', userName]), await attempt('id', ['-g', userName])];
  if (!/^\d+$/.test(uid) || !/^\d+$/.test(gid)) return null;
  return { uid: Number(uid), gid: Number(gid) };
}

async function attempt(file: string, args: readonly string[]): Promise<string> {
  try {
    return (await runCommand(file, args, null)).output;
  } catch (error) {
    return String(error);
  }
}
