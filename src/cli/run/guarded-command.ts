import { type ChildProcess, spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import { extname, join } from 'node:path';
import type { LeaseWindow } from '../../client/index.ts';
import { systemClock } from '../../runtime/clock.ts';
import type { Environment } from '../program.ts';
import { groupHasMembers, startTimeOf } from './process-group.ts';

/** How a command ended. */
export type CommandEnd =
  /** `isForced`: it got TERM or KILL because its lease was running out. */
  | {
      readonly kind: 'exited';
      readonly code: number | null;
      readonly signal: NodeJS.Signals | null;
      readonly isForced: boolean;
    }
  /** It could not be started; `code` is of the system (`ENOENT`, `EACCES`, …). */
  | { readonly kind: 'not_started'; readonly code: string }
  /** It was not started any more. */
  | { readonly kind: 'late' }
  /** The watchdog was killed; so was the command. */
  | { readonly kind: 'unguarded' };

interface WatchdogMessage {
  readonly started?: { readonly pid: number; readonly startTime?: string };
  readonly failed?: string;
  readonly late?: true;
  readonly exited?: {
    readonly code: number | null;
    readonly signal: NodeJS.Signals | null;
    readonly isForced: boolean;
  };
}

export interface GuardedCommandOptions {
  readonly command: readonly string[];
  readonly env: Environment;
  readonly window: LeaseWindow;
  /** How long what the command leaves in its process group may take to end, in ms. */
  readonly graceMs: number;
}

// As this file is: TypeScript in a clone, JavaScript in a package.
const watchdogProgram = join(import.meta.dirname, `watchdog${extname(import.meta.filename)}`);

/**
 * A command in a process group and session of its own, with this process's stdin, stdout and stderr, started and guarded
 * by a watchdog (watchdog.ts). It never runs past `killAtMs` of the newest window, also if this process is paused or killed.
 */
export class GuardedCommand {
  /** Resolves when the command and all of its process group have ended. Never rejects. */
  readonly ended: Promise<CommandEnd>;
  readonly #watchdog: ChildProcess;
  readonly #line: Socket;
  readonly #end = Promise.withResolvers<CommandEnd>();
  #outcome: CommandEnd | undefined;
  #started: WatchdogMessage['started'];

  constructor({ command, env, window, graceMs }: GuardedCommandOptions) {
    const { stopAtMs, killAtMs } = shared(window);
    this.ended = this.#end.promise;
    this.#watchdog = spawn(
      process.execPath,
      [watchdogProgram, `${stopAtMs}`, `${killAtMs}`, `${graceMs}`, ...command],
      // Its own session: signals to this process's group and a closed terminal do not reach it.
      { detached: true, env, stdio: ['inherit', 'inherit', 'inherit', 'pipe'] },
    );
    this.#line = this.#watchdog.stdio[3] as Socket;
    this.#line.on('error', () => undefined);
    let unread = '';
    this.#line.setEncoding('utf8').on('data', (chunk: string) => {
      const lines = (unread + chunk).split('\n');
      unread = lines.pop() ?? '';
      for (const line of lines) this.#hear(JSON.parse(line) as WatchdogMessage);
    });
    this.#line.on('close', () => this.#conclude());
    this.#watchdog.on('error', (error: NodeJS.ErrnoException) => {
      if (this.#started === undefined) this.#outcome ??= { kind: 'not_started', code: error.code ?? error.message };
      this.#conclude();
    });
  }

  /** Moves the deadline; the window is on this process's monotonic clock. */
  setWindow(window: LeaseWindow): void {
    this.#tell({ deadline: shared(window) });
  }

  /** Sends a signal to the command's process group. */
  passOn(signal: NodeJS.Signals): void {
    this.#tell({ signal });
  }

  /** Does not start the command if it has not been started yet. */
  abandon(): void {
    this.#tell({ abandon: true });
  }

  /** KILL by this process: for a watchdog that does not do its work (it is paused itself, say). */
  kill(): void {
    if (this.#started !== undefined) killGroup(this.#started);
    this.#watchdog.kill('SIGKILL');
  }

  /**
   * Behind the next poll for input: after a pause of this process timers run first, and writing to a watchdog that has
   * gone would destroy what it said last (how the command ended) before it is read.
   */
  #tell(message: object): void {
    setImmediate(() => {
      if (this.#outcome === undefined && this.#line.writable) this.#line.write(`${JSON.stringify(message)}\n`);
    });
  }

  #hear(message: WatchdogMessage): void {
    if (message.started !== undefined) this.#started = message.started;
    if (message.failed !== undefined) this.#outcome = { kind: 'not_started', code: message.failed };
    if (message.late !== undefined) this.#outcome = { kind: 'late' };
    if (message.exited !== undefined) this.#outcome = { kind: 'exited', ...message.exited };
  }

  #conclude(): void {
    // Without a watchdog nothing guards what is left.
    if (this.#started !== undefined && groupHasMembers(this.#started.pid)) killGroup(this.#started);
    this.#end.resolve(this.#outcome ?? { kind: 'unguarded' });
  }
}

function killGroup({ pid, startTime }: { readonly pid: number; readonly startTime?: string }): void {
  const present = startTimeOf(pid);
  if (present !== undefined && present !== startTime) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // Nobody is left in it.
  }
}

/** From this process's monotonic clock to the one all processes share. Read in this order, a pause between makes it earlier. */
function shared({ stopAtMs, killAtMs }: LeaseWindow): { stopAtMs: number; killAtMs: number } {
  const offsetMs = Number(process.hrtime.bigint()) / 1e6 - systemClock.monotonicMs();
  return { stopAtMs: stopAtMs + offsetMs, killAtMs: killAtMs + offsetMs };
}
