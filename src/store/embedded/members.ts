/**
 * Who uses the server: one empty file per opening, `<pid>-<start of the process>-<random>`. Files of processes that are
 * gone count for nothing. All of it is called under the lock of the data directory.
 *
 * Pids are those of one pid namespace: containers that share a data directory do not see each other.
 * The last part is random, not counted: a process may hold this module twice (test runners do).
 */
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { DataDir } from './data-dir.ts';
import { processStart } from './process-start.ts';

/** Signs this process up and returns the name to sign off with. */
export async function addMember(dataDir: DataDir): Promise<string> {
  const member = `${process.pid}-${await processStart(process.pid)}-${randomBytes(4).toString('hex')}`;
  await mkdir(dataDir.membersDir, { recursive: true, mode: 0o700 });
  await writeFile(join(dataDir.membersDir, member), '', { mode: 0o600 });
  return member;
}

export async function removeMember(dataDir: DataDir, member: string): Promise<void> {
  await rm(join(dataDir.membersDir, member), { force: true });
}

/** How many members are alive; files of the dead are removed on the way. */
export async function countMembers(dataDir: DataDir): Promise<number> {
  let alive = 0;
  for (const member of await readdir(dataDir.membersDir).catch(() => [])) {
    const [pid, start] = member.split('-');
    if (start !== undefined && (await processStart(Number(pid))) === start) alive++;
    else await removeMember(dataDir, member);
  }
  return alive;
}
