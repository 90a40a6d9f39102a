import { type Command, InvalidArgumentError } from 'commander';
import { type DirtySlot, isTransient, type SignalboxClient, takeDirtySlot } from '../client/index.ts';
import { SignalboxError } from '../protocol/errors.ts';
import { backoffMs } from '../runtime/backoff.ts';
import { processIdentity } from '../runtime/ids.ts';
import { Pause } from '../runtime/pause.ts';
import { durationMs } from './duration.ts';
import { exitCode, runExitCode } from './exit-codes.ts';
import type { Environment } from './program.ts';
import { runHeldCommand } from './run/held-command.ts';
import { OwnLines } from './run/own-lines.ts';
import { OutsideSignals } from './run/outside-signals.ts';
import { clientOf, serviceOf, type ServiceFlags, withServiceOptions } from './service-options.ts';

export interface CleanFlags extends ServiceFlags {
  readonly all?: true;
  readonly watch?: true;
  readonly wait?: number;
  readonly ttl?: number;
  readonly holder?: string;
  readonly releaseGrace?: number;
  readonly quiet?: true;
}

/** The options of `signalbox clean`; everything behind `--` is the command's. */
export function describeClean(command: Command): Command {
  return withServiceOptions(command)
    .description('run a command on a dirty slot of a queue with clean-up; the slot is free when it succeeds')
    .option('--all', 'one dirty slot after another, until none is left or the command fails')
    .option('--watch', 'wait for dirty slots and clean them, until a signal; a command that fails is tried again')
    .option('--wait <duration>', 'wait so long for the first dirty slot (default: not)', durationMs(0, 2_592_000_000))
    .option(
      '--ttl <duration>',
      "length of the lease, renewed at a third (default: the queue's)",
      durationMs(1000, 86_400_000),
    )
    .option('--holder <holder>', 'who cleans; must differ from every other holder (default: host:pid:random)')
    .option(
      '--release-grace <duration>',
      'how long what the command leaves running may take to end, and how long the release is tried (default: 10s)',
      durationMs(0, 3_600_000),
    )
    .option('--quiet', 'print only what goes wrong')
    .argument('<queue>', 'the queue whose slots are to be cleaned')
    .argument('<command...>', 'what to run, behind --')
    .addHelpText(
      'after',
      `
In the command's environment: SIGNALBOX_URL, _QUEUE, _SLOT, _CLAIM_ID, _FENCING_TOKEN, _HOLDER and _ATTEMPT of this cleaning, and
SIGNALBOX_PREVIOUS_CLAIM_ID, _KIND, _HOLDER, _FENCING_TOKEN, _STATE, _REASON, _OUTCOME, _ENDED_AT, _LABELS and _METADATA (JSON)
of the grant that left the slot dirty.

Exit codes: the command's own, 128 + n if signal n ended it, and
  0    --all: all that was dirty is clean
  120  not run: nothing is dirty
  121  the lease was lost or not renewed in time; the command was ended
  122  not run, or --watch: a signal came
  123  not run: the service cannot be reached, or refused the call: there is no such queue (--watch waits for it)
  126  not executable     127  not found`,
    );
}

/**
 * `signalbox clean`: takes a dirty slot, runs the command under its lease as `signalbox run` does, and says how it ended:
 * exit 0 makes the slot free, everything else leaves it dirty.
 */
export async function cleanCommand(
  flags: CleanFlags,
  queue: string,
  words: readonly string[],
  environment: Environment,
): Promise<number> {
  const { all: isAll = false, watch: isWatch = false, wait: waitMs = 0, ttl: ttlMs } = flags;
  if (isWatch && (isAll || flags.wait !== undefined))
    throw new InvalidArgumentError('--watch goes with neither --all nor --wait.');
  const client = clientOf(flags, environment);
  const { url } = serviceOf(flags, environment);
  const holder = flags.holder ?? processIdentity();
  using ownLines = new OwnLines();
  const warn = (line: string) => ownLines.print(line);
  const say = flags.quiet === true ? () => undefined : warn;
  using signals = new OutsideSignals();
  let isUnreachable = false;
  let isMissing = false;
  let failures = 0;
  for (let cleaned = 0; ;) {
    let slot: DirtySlot | undefined;
    try {
      slot = await takeDirtySlot(client, {
        queue,
        holder,
        ttlMs,
        waitTimeoutMs: isWatch ? Infinity : cleaned === 0 ? waitMs : 0,
        // Whoever watches stays when the service goes for a while, but is told at once of an address that is wrong.
        ...(isWatch && cleaned + failures > 0 ? { unreachableTimeoutMs: Infinity } : {}),
        signal: signals.signal,
        onUnreachable: (error) => {
          if (!isUnreachable) say(`${error.message}; trying on`);
          isUnreachable = true;
        },
        onMissing: (error) => {
          if (!isMissing) say(`${error.message}; waiting for it`);
          isMissing = true;
        },
      });
    } catch (error) {
      if (signals.signal.aborted) return runExitCode.cancelled;
      if (!(error instanceof Error) || !(isTransient(error) || isRefusal(error))) throw error;
      warn(error.message);
      return runExitCode.noService;
    }
    isUnreachable = isMissing = false;
    if (slot === undefined) {
      const isCleanable = cleaned > 0 || (await hasCleanUp(client, queue, signals.signal));
      if (!isCleanable) warn(`nothing can be dirty in ${queue}: it has no clean-up stage (cleanup is false)`);
      if (isAll) {
        say(`nothing is dirty in ${queue}; cleaned: ${cleaned}`);
        return exitCode.ok;
      }
      if (isCleanable) warn(`nothing is dirty in ${queue}`);
      return runExitCode.notAcquired;
    }
    const { lease } = slot;
    say(
      `cleaning slot ${lease.slot} of ${queue} after ${lease.previous.claim_id}, fencing token ${lease.fencing_token}` +
        (lease.attempt > 1 ? `, attempt ${lease.attempt}` : ''),
    );
    const code = await runHeldCommand({
      client,
      acquired: slot,
      command: words,
      env: { ...environment, SIGNALBOX_URL: url, ...environmentOf(slot) },
      graceMs: flags.releaseGrace ?? 10_000,
      signals,
      say,
      warn,
    });
    if (signals.signal.aborted && isWatch) return runExitCode.cancelled;
    if (code === 0) [cleaned, failures] = [cleaned + 1, 0];
    else if (isWatch) {
      // Its slot goes behind the other dirty ones; if it is the only one, it must not be tried in a tight loop.
      warn(`slot ${lease.slot} of ${queue} is dirty still: the command ended with ${code}`);
      await new Pause().wait(backoffMs(failures++, { firstMs: 500, maxMs: 60_000 }), signals.signal);
    }
    if (!isWatch && (code !== 0 || !isAll || signals.signal.aborted)) return code;
  }
}

/** False only if it is known to have none: then a cleaner of it has nothing to do for ever. */
async function hasCleanUp(client: SignalboxClient, queue: string, signal: AbortSignal): Promise<boolean> {
  try {
    return (await client.getQueue(queue, { signal, timeoutMs: 3000, retry: { attempts: 1 } })).cleanup;
  } catch {
    return true;
  }
}

function environmentOf({ lease }: DirtySlot): Environment {
  const { previous } = lease;
  return {
    SIGNALBOX_QUEUE: lease.queue,
    SIGNALBOX_CLAIM_ID: lease.claim_id,
    SIGNALBOX_FENCING_TOKEN: `${lease.fencing_token}`,
    SIGNALBOX_SLOT: `${lease.slot}`,
    SIGNALBOX_HOLDER: lease.holder,
    SIGNALBOX_ATTEMPT: `${lease.attempt}`,
    SIGNALBOX_PREVIOUS_CLAIM_ID: previous.claim_id,
    SIGNALBOX_PREVIOUS_KIND: previous.kind,
    SIGNALBOX_PREVIOUS_HOLDER: previous.holder,
    SIGNALBOX_PREVIOUS_FENCING_TOKEN: `${previous.fencing_token}`,
    SIGNALBOX_PREVIOUS_STATE: previous.state,
    SIGNALBOX_PREVIOUS_REASON: previous.reason,
    SIGNALBOX_PREVIOUS_OUTCOME: previous.outcome ?? '',
    SIGNALBOX_PREVIOUS_ENDED_AT: previous.ended_at,
    SIGNALBOX_PREVIOUS_LABELS: JSON.stringify(previous.labels),
    SIGNALBOX_PREVIOUS_METADATA: JSON.stringify(previous.metadata),
  };
}

function isRefusal(error: Error): boolean {
  return error instanceof SignalboxError || error.name === 'UnknownRefusalError';
}
