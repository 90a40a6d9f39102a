import { readFileSync, readdirSync } from 'node:fs';

/** Linux counts the time of processes in hundredths of a second, whatever the kernel's own clock. */
const microsecondsPerTick = 10_000;

interface Stat {
  readonly pid: number;
  readonly name: string;
  readonly parent: number;
  readonly ownTicks: number;
  /** Of its children that have ended. */
  readonly endedTicks: number;
}

/** undefined where the process is gone or there is no /proc. */
function statOf(pid: number): Stat | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The name is in parentheses and may hold anything; counted from behind it, field 3 comes first.
    const nameEnd = text.lastIndexOf(')');
    const fields = text.slice(nameEnd + 2).split(' ');
    const field = (number: number) => Number(fields[number - 3]);
    return {
      pid,
      name: text.slice(text.indexOf('(') + 1, nameEnd),
      parent: field(4),
      ownTicks: field(14) + field(15),
      endedTicks: field(16) + field(17),
    };
  } catch {
    return undefined;
  }
}

function allProcesses(): Stat[] {
  try {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .flatMap((name) => statOf(Number(name)) ?? []);
  } catch {
    return [];
  }
}

/** Children of this process, those with this program name if one is given; none where the system does not tell. */
export function ownChildren(name?: string): number[] {
  return allProcesses()
    .filter((stat) => stat.parent === process.pid && stat.name === (name ?? stat.name))
    .map(({ pid }) => pid);
}

/** Processor time used so far by these processes, in µs; NaN where the system does not tell. */
export function cpuOfProcesses(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + (statOf(pid)?.ownTicks ?? NaN) * microsecondsPerTick, 0);
}

/** The same of a process and all its children, those that have ended included: a postmaster and its backends. */
export function cpuOfFamily(parent: number): number {
  const own = statOf(parent);
  if (own === undefined) return NaN;
  const children = allProcesses().filter((stat) => stat.parent === parent);
  const ticks = children.reduce((sum, child) => sum + child.ownTicks, own.ownTicks + own.endedTicks);
  return ticks * microsecondsPerTick;
}

/** Memory that a process has in RAM, in bytes; NaN where the system does not tell. */
export function residentBytes(pid: number): number {
  try {
    const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1];
    return Number(kilobytes ?? NaN) * 1024;
  } catch {
    return NaN;
  }
}
