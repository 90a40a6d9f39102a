import { readFile } from 'node:fs/promises';
import { platform } from 'node:os';
import { runCommand } from './command.ts';
import { errorCode } from './errors.ts';

/**
 * When the process with this pid started, as an opaque word of letters and digits; null if there is no such process or
 * it is a zombie. Pid and start together name one process: a pid alone is given out again.
 */
export async function processStart(pid: number): Promise<string | null> {
  if (platform() === 'linux') return linuxStart(pid);
  if (platform() === 'win32') return isAlive(pid) ? 'unknown' : null;
  const { output } = await runCommand('ps', ['-o', 'stat=,lstart=', '-p', `${pid}`], null);
  const [state, ...start] = output.trim().split(/\s+/);
  return state === undefined || state === '' || state.startsWith('Z') ? null : start.join('').replace(/\W/g, '');
}

/** `ps` and /proc are not everywhere. A process of another user counts as alive. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errorCode(error) === 'EPERM';
  }
}

async function linuxStart(pid: number): Promise<string | null> {
  try {
    const line = await readFile(`/proc/${pid}/stat`, 'utf8');
    // The command's name, in brackets, may hold spaces and brackets; the state is the first field behind it.
    const fields = line.slice(line.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? null : (fields[19] ?? null);
  } catch (error) {
    if (errorCode(error) === 'ENOENT' || errorCode(error) === 'ESRCH') return null;
    throw error;
  }
}
