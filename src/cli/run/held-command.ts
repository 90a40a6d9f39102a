import { constants } from 'node:os';
import {
  type AcquiredLease,
  LeaseKeeper,
  type Outcome,
  ServiceUnreachableError,
  type SignalboxClient,
  stopTimeMs,
} from '../../client/index.ts';
import { systemClock } from '../../runtime/clock.ts';
import { inWords } from '../duration.ts';
import { runExitCode } from '../exit-codes.ts';
import type { Environment } from '../program.ts';
import { type CommandEnd, GuardedCommand } from './guarded-command.ts';
import type { OutsideSignals } from './outside-signals.ts';

export interface HeldCommandOptions {
  readonly client: SignalboxClient;
  readonly acquired: AcquiredLease;
  readonly command: readonly string[];
  readonly env: Environment;
  readonly graceMs: number;
  readonly signals: OutsideSignals;
  readonly say: (line: string) => void;
  /** For what a person must read, also with --quiet. */
  readonly warn: (line: string) => void;
}

/**
 * Runs a command under a lease that is held: renews until the command has ended, whatever asks it to, and releases with
 * its outcome. Returns the exit code.
 */
export async function runHeldCommand(options: HeldCommandOptions): Promise<number> {
  const { client, acquired, command: words, env, graceMs, signals, say, warn } = options;
  const { lease } = acquired;
  await using keeper = new LeaseKeeper(client, acquired);
  let command: GuardedCommand;
  try {
    command = new GuardedCommand({ command: words, env, window: keeper.window, graceMs });
  } catch (error) {
    // Arguments too long for the watchdog's own command line, no memory, no process left: nothing ran.
    await keeper.stop();
    await release(options, keeper, 'failure');
    warn(`${words[0] ?? ''} cannot be run: ${error instanceof Error ? error.message : String(error)}`);
    return runExitCode.notExecutable;
  }
  const state = { isAskedToEnd: false, hasFailedRenewal: false };
  // The watchdog acts at killAtMs; this acts only if it did not.
  const overdue = () => keeper.window.killAtMs + stopTimeMs(lease.ttl_ms) / 6;
  let backstop: NodeJS.Timeout | undefined;
  const armBackstop = () => {
    clearTimeout(backstop);
    backstop = setTimeout(() => command.kill(), Math.max(0, overdue() - systemClock.monotonicMs()));
  };
  armBackstop();

  keeper.on('renewed', () => {
    if (state.hasFailedRenewal) say('the lease is renewed again');
    state.hasFailedRenewal = false;
    command.setWindow(keeper.window);
    armBackstop();
  });
  keeper.on('renewal_failed', (error) => {
    if (!state.hasFailedRenewal) warn(`the lease could not be renewed, trying on: ${error.message}`);
    state.hasFailedRenewal = true;
  });
  keeper.signal.addEventListener('abort', () => {
    command.abandon();
    if (keeper.lostReason === undefined) warn('no renewal for two thirds of the ttl: TERM to the command');
  });
  keeper.on('lost', (reason) => {
    if (reason === 'no_renewal') return;
    warn(`the lease is lost (${reason}): TERM to the command`);
    // The place may be somebody else's already: no more time than between TERM and KILL of any lease.
    const now = systemClock.monotonicMs();
    const killAtMs = Math.min(keeper.window.killAtMs, now + stopTimeMs(lease.ttl_ms));
    command.setWindow({ stopAtMs: now, killAtMs, endsAtMs: killAtMs });
  });
  keeper.on('release_requested', () => {
    say('the release of the lease is asked for: TERM to the command');
    state.isAskedToEnd = true;
    command.passOn('SIGTERM');
  });
  signals.listen((signal) => {
    say(`got ${signal}: passed on to the command`);
    state.isAskedToEnd = true;
    command.passOn(signal);
  });

  const end = await command.ended;
  clearTimeout(backstop);
  await keeper.stop();
  const isOver = keeper.lostReason !== undefined && keeper.lostReason !== 'no_renewal';
  // A command that ended by itself in time has done its work, whatever this process missed meanwhile (it was paused, say).
  const isCutOff = end.kind === 'exited' ? end.isForced : end.kind === 'unguarded' || keeper.signal.aborted;
  const isLost = isOver || isCutOff;
  if (!isOver) {
    const isSuccess = end.kind === 'exited' && end.code === 0 && !isLost;
    const outcome = state.isAskedToEnd ? 'cancelled' : isSuccess ? 'success' : 'failure';
    await release(options, keeper, outcome);
  }
  if (end.kind === 'unguarded') warn('the watchdog was killed, and the command with it');
  if (end.kind === 'not_started') warn(`${words[0] ?? ''} cannot be run: ${end.code}`);
  if (isLost) {
    const who = keeper.lostReason === 'broken' ? await whoBroke(options) : '';
    warn(`the lease was lost (${keeper.lostReason ?? 'no_renewal'}${who}); the command has been ended`);
    return runExitCode.leaseLost;
  }
  return codeOf(end);
}

/** Tries for the grace, but not beyond the lease's end: from there on nothing is left to release. */
async function release(
  { client, graceMs, say, warn }: HeldCommandOptions,
  { lease, window }: LeaseKeeper,
  outcome: Outcome,
): Promise<void> {
  const leftMs = window.endsAtMs - systemClock.monotonicMs();
  const signal = AbortSignal.timeout(Math.ceil(Math.max(250, Math.min(graceMs, leftMs))));
  try {
    const answer = await client.release(lease, { outcome, signal, timeoutMs: 3000, retry: { attempts: 100 } });
    if (answer.released) say(`released ${lease.queue} (${outcome})`);
    else warn(`the lease was over before it was released: ${answer.reason ?? 'unknown'}`);
  } catch (error) {
    const why = signal.aborted || error instanceof ServiceUnreachableError ? 'the service cannot be reached' : error;
    warn(`the lease could not be released (${String(why)}); it ends by itself in ${inWords(leftMs)}`);
  }
}

/** Who ended the lease by force, and why: whoever reads this log did not. Empty if it cannot be learnt now. */
async function whoBroke({ client, acquired: { lease } }: HeldCommandOptions): Promise<string> {
  try {
    const claim = await client.getClaim(lease.queue, lease.claim_id, { timeoutMs: 2000, retry: { attempts: 1 } });
    if (claim.state !== 'broken') return '';
    const by = typeof claim.actor === 'string' ? ` by ${claim.actor}` : '';
    return typeof claim.detail === 'string' ? `${by}: ${claim.detail}` : by;
  } catch {
    return '';
  }
}

/** As a shell counts: the command's own code, 128 + n for signal n, 127 and 126 for what cannot be run. */
function codeOf(end: CommandEnd): number {
  switch (end.kind) {
    case 'exited':
      return end.signal === null ? (end.code ?? 0) : runExitCode.signalBase + constants.signals[end.signal];
    case 'not_started':
      return end.code === 'ENOENT' ? runExitCode.notFound : runExitCode.notExecutable;
    case 'late':
      return runExitCode.cancelled;
    case 'unguarded':
      return runExitCode.leaseLost;
    default:
      return end satisfies never;
  }
}
