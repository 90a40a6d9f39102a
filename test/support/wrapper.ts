import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { BackgroundProcess } from './background-process.ts';
import type { TestDatabase } from './database.ts';

const program = join(import.meta.dirname, '../../src/main.ts');

/** Starts `signalbox` with these arguments, as a shell would. */
export function signalbox(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>> = {},
): Promise<BackgroundProcess> {
  return BackgroundProcess.node(program, args, { env: { SIGNALBOX_TOKEN: undefined, ...env } });
}

/** Runs `signalbox` with these arguments to its end. */
export async function signalboxRun(
  ...args: readonly string[]
): Promise<{ readonly exitCode: number | null; readonly output: string }> {
  await using command = await signalbox(args);
  const { exitCode } = await command.ended;
  return { exitCode, output: command.output };
}

/** Starts `signalbox run` around a shell script. */
export function runScript(
  url: string,
  queue: string,
  script: string,
  { flags = [], env = {} }: { flags?: readonly string[]; env?: Readonly<Record<string, string | undefined>> } = {},
): Promise<BackgroundProcess> {
  return signalbox(['run', '--url', url, '--queue', queue, ...flags, '--', 'sh', '-c', script], env);
}

/**
 * A script that ignores TERM and appends a line to `file` about every 50 ms: seconds of the system's monotonic clock
 * (/proc/uptime, in steps of 10 ms) and its fencing token.
 */
export function beatingScript(file: string): string {
  return `trap '' TERM
    while :; do read -r now _ < /proc/uptime; echo "$now $SIGNALBOX_FENCING_TOKEN" >> ${file}; sleep 0.05; done`;
}

export interface Beats {
  readonly first: number;
  readonly last: number;
  readonly token: number;
}

/** The first and last line of a file of beats; undefined while there is none. */
export function beatsIn(file: string): Beats | undefined {
  let text = '';
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
  const lines = text
    .split('\n')
    .slice(0, -1)
    .map((line) => line.split(' ').map(Number));
  const [[first = NaN, token = NaN] = []] = lines;
  return lines.length === 0 ? undefined : { first, token, last: lines.at(-1)?.[0] ?? NaN };
}

/** Processes that were started by `signalbox run` for this queue: its watchdog, the command and the command's own. */
export function processesOf(queue: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, 'utf8').includes(`SIGNALBOX_QUEUE=${queue}\0`);
      } catch {
        return false;
      }
    })
    .map(Number);
}

export interface GrantEnd {
  readonly state: string;
  readonly outcome: string | null;
  readonly reason: string;
  readonly fencing_token: string;
  /** Seconds of the system's monotonic clock, to be compared with beats: up to 20 ms early or late. */
  readonly acquired: number;
  readonly expires: number;
  readonly ended: number;
}

/** How the claims of a queue ended, in order, with the database's times on the clock of /proc/uptime. */
export async function endsOf(database: TestDatabase, queue: string): Promise<GrantEnd[]> {
  const before = uptime();
  const { rows } = await database.query<{ now: number }>('select extract(epoch from clock_timestamp())::float8 as now');
  const offset = (rows[0]?.now ?? NaN) - (before + uptime()) / 2;
  const ends = await database.query<GrantEnd>(
    `select state, outcome, reason, fencing_token, extract(epoch from acquired_at)::float8 - $2::float8 as acquired,
            extract(epoch from expires_at)::float8 - $2::float8 as expires, extract(epoch from ended_at)::float8 - $2::float8 as ended
     from signalbox.history where queue = $1 order by ended_at`,
    [queue, offset],
  );
  return ends.rows;
}

/** How long a grant was held, in seconds. */
export function heldSeconds(end: GrantEnd | undefined): number {
  return end === undefined ? NaN : end.ended - end.acquired;
}

function uptime(): number {
  return Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]);
}
