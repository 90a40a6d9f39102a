import { readFileSync, readdirSync } from 'node:fs';

interface ProcessStat {
  readonly state: string;
  readonly group: number;
  readonly startTime: string;
}

/**
 * When a process started, in ticks since the machine did: with its number it names one process for ever. Undefined if
 * there is no such process, or no /proc (not Linux): then nothing can be told apart.
 */
export function startTimeOf(pid: number): string | undefined {
  return statOf(pid)?.startTime;
}

/** Whether a process of this group still runs. Dead ones that nobody has collected yet do not count on Linux. */
export function groupHasMembers(group: number): boolean {
  try {
    process.kill(-group, 0);
  } catch (error) {
    // Somebody is there whom we may not signal.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
  if (process.platform !== 'linux') return true;
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => statOf(Number(name)))
    .some((stat) => stat?.group === group && !/[ZX]/.test(stat.state));
}

function statOf(pid: number): ProcessStat | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name, in parentheses, may hold anything; proc(5) counts the fields, from 1.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    const [state = '', , group] = fields;
    return { state, group: Number(group), startTime: fields[19] ?? '' };
  } catch {
    return undefined;
  }
}
