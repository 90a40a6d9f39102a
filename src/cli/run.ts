import { type Command, InvalidArgumentError, Option } from 'commander';
import { type AcquireOutcome, acquireLease, isTransient, withdrawClaim } from '../client/index.ts';
import { SignalboxError } from '../protocol/errors.ts';
import { processIdentity } from '../runtime/ids.ts';
import { durationMs } from './duration.ts';
import { runExitCode } from './exit-codes.ts';
import { labels } from './label.ts';
import type { Environment } from './program.ts';
import { runHeldCommand } from './run/held-command.ts';
import { OwnLines } from './run/own-lines.ts';
import { OutsideSignals } from './run/outside-signals.ts';
import { waitingLines } from './run/waiting-lines.ts';
import { clientOf, serviceOf, type ServiceFlags, withServiceOptions } from './service-options.ts';

export interface RunFlags extends ServiceFlags {
  readonly queue: string;
  readonly ttl?: number;
  readonly priority: number;
  readonly weight?: number;
  readonly also?: readonly { readonly queue: string; readonly weight: number }[];
  readonly skipIfBusy?: true;
  readonly latestOnly?: true;
  readonly waitTimeout?: number;
  readonly maxWait?: number;
  readonly batch?: string;
  readonly batchRank?: number;
  readonly claimId?: string;
  readonly holder?: string;
  readonly label?: Readonly<Record<string, string>>;
  readonly releaseGrace?: number;
  readonly quiet?: true;
}

/** The options of `signalbox run`; everything from the command's name on is the command's. */
export function describeRun(command: Command): Command {
  return withServiceOptions(command)
    .description('run a command while holding a place of a queue; renewed as long as it runs, then released')
    .requiredOption('--queue <queue>', 'the queue to stand in')
    .option(
      '--ttl <duration>',
      "length of the lease, renewed at a third (default: the queue's)",
      durationMs(1000, 86_400_000),
    )
    .option('--priority <n>', 'higher goes first', wholeNumber, 0)
    .option('--weight <n>', 'how many places of the queue to take (default: 1)', wholeNumber)
    .option(
      '--also <queue[:weight]>',
      'one more queue to hold a place in, all or none; may be repeated, at most 3 times',
      otherQueues,
    )
    .option('--skip-if-busy', 'do not wait: exit 120 if there is no free place')
    .addOption(
      new Option(
        '--latest-only',
        'end older waiting runs of this option, and with cancel_in_progress ask running ones to end',
      ).conflicts('skipIfBusy'),
    )
    .option('--wait-timeout <duration>', 'give up after so long in line (default: never)', durationMs(0, 2_592_000_000))
    .option(
      '--max-wait <duration>',
      "the service ends the claim if it still waits after so long, whatever becomes of this process (default: the queue's)",
      durationMs(1000, 31_536_000_000),
    )
    .option('--batch <name>', 'runs of one event stand together in line, in the order in which they came')
    .option('--batch-rank <n>', 'the order within the batch, smaller first; equal ones as they came (default: 0)', rank)
    .option('--claim-id <id>', 'name of this wish, for status, cancel and logs (default: a new one)')
    .option('--holder <holder>', 'who holds; must differ from every other holder (default: host:pid:random)')
    .option('--label <k=v>', 'a label of the claim; may be repeated', labels)
    .option(
      '--release-grace <duration>',
      'how long what the command leaves running may take to end, and how long the release is tried (default: 10s)',
      durationMs(0, 3_600_000),
    )
    .option('--quiet', 'print only what goes wrong')
    .argument('<command...>', 'what to run')
    .passThroughOptions()
    .addHelpText(
      'after',
      `
Exit codes: the command's own, 128 + n if signal n ended it, and
  120  not run: busy, full, closed, wait timeout, or the claim ended
  121  the lease was lost or not renewed in time; the command was ended
  122  not run: cancelled while waiting
  123  not run: the service cannot be reached, or refused the call
  126  not executable     127  not found`,
    );
}

/**
 * `signalbox run`: stands in line, runs the command under the lease, releases with its outcome. It promises:
 *
 *  1. The command has a process group (and session) of its own, and this process's stdin, stdout and stderr.
 *  2. Two thirds of the ttl after the last renewal was sent the group gets TERM, at 0.9 KILL, and the exit code is 121. A
 *     watchdog process does it, so it also happens while this process is paused (SIGSTOP) or after it was killed (-9).
 *  3. Renewing goes on until the command has ended, through its teardown after any signal.
 *  4. No timer ends renewing.
 *  5. The command finds SIGNALBOX_URL, _QUEUE, _CLAIM_ID, _FENCING_TOKEN, _SLOT and _HOLDER in its environment, and with
 *     --also _ALSO, its other places as JSON.
 *  6. Released as `success` (exit 0), `failure`, or `cancelled` (it was asked to end).
 *  7. While waiting, position and reason go to stderr, once per change, each line with `signalbox:` in front.
 *  8. TERM, INT and HUP cancel the claim while it waits (exit 122), and are passed on to the group once it runs.
 *
 * Exit codes: `runExitCode`; else the command's own.
 */
export async function runCommand(flags: RunFlags, words: readonly string[], environment: Environment): Promise<number> {
  if (flags.batchRank !== undefined && flags.batch === undefined)
    throw new InvalidArgumentError('--batch-rank goes with --batch only.');
  const client = clientOf(flags, environment);
  const { queue, ttl: ttlMs, priority, waitTimeout: waitTimeoutMs, claimId, label } = flags;
  using ownLines = new OwnLines();
  const warn = (line: string) => ownLines.print(line);
  const say = flags.quiet === true ? () => undefined : warn;
  using signals = new OutsideSignals();
  const tellPlace = waitingLines(queue, say);
  let isUnreachable = false;
  let outcome: AcquireOutcome;
  try {
    outcome = await acquireLease(client, {
      queue,
      holder: flags.holder ?? processIdentity(),
      claimId,
      ttlMs,
      priority,
      weight: flags.weight,
      also: flags.also,
      mode: flags.skipIfBusy === true ? 'skip_if_busy' : flags.latestOnly === true ? 'latest_only' : 'wait',
      labels: label,
      waitTimeoutMs,
      maxWaitMs: flags.maxWait,
      batch: flags.batch,
      batchRank: flags.batchRank,
      signal: signals.signal,
      onWaiting: (_position, _reason, claim) => {
        isUnreachable = false;
        tellPlace(claim);
      },
      onUnreachable: (error) => {
        if (!isUnreachable) say(`${error.message}; trying on`);
        isUnreachable = true;
      },
    });
  } catch (error) {
    if (signals.signal.aborted) {
      warn(`${messageOf(signals.signal.reason)} while waiting: the claim is cancelled`);
      return runExitCode.cancelled;
    }
    if (!(error instanceof Error) || !(isTransient(error) || isRefusal(error))) throw error;
    warn(error.message);
    return runExitCode.noService;
  }
  if (outcome.kind !== 'held') return notAcquired(outcome, queue, warn);
  const { lease } = outcome;
  if (signals.signal.aborted || lease.release_requested) {
    await withdrawClaim(client, queue, lease.claim_id, { mayArrive: false });
    warn('cancelled before the command was started');
    return runExitCode.cancelled;
  }
  say(`holding ${queue}, slot ${lease.slot}, fencing token ${lease.fencing_token}`);
  for (const place of lease.also ?? [])
    say(`holding ${place.queue}, slot ${place.slot}, fencing token ${place.fencing_token}`);
  return await runHeldCommand({
    client,
    acquired: outcome,
    command: words,
    env: {
      ...environment,
      SIGNALBOX_URL: serviceOf(flags, environment).url,
      SIGNALBOX_QUEUE: lease.queue,
      SIGNALBOX_CLAIM_ID: lease.claim_id,
      SIGNALBOX_FENCING_TOKEN: `${lease.fencing_token}`,
      SIGNALBOX_SLOT: `${lease.slot}`,
      SIGNALBOX_HOLDER: lease.holder,
      ...(lease.also === undefined ? {} : { SIGNALBOX_ALSO: JSON.stringify(lease.also) }),
    },
    graceMs: flags.releaseGrace ?? 10_000,
    signals,
    say,
    warn,
  });
}

function notAcquired(
  outcome: Exclude<AcquireOutcome, { kind: 'held' }>,
  queue: string,
  warn: (line: string) => void,
): number {
  switch (outcome.kind) {
    case 'busy':
      warn(outcome.error.message);
      return runExitCode.notAcquired;
    case 'wait_timeout':
      warn(`no place in ${queue} within the wait timeout: the claim is cancelled`);
      return runExitCode.notAcquired;
    case 'ended':
      warn(
        `the claim in ${queue} has ended: ${outcome.state}` +
          `${outcome.reason === outcome.state ? '' : ` (${outcome.reason})`}; a claim id is used once, another one asks anew`,
      );
      return outcome.state === 'cancelled' ? runExitCode.cancelled : runExitCode.notAcquired;
    default:
      return outcome satisfies never;
  }
}

function isRefusal(error: Error): boolean {
  return error instanceof SignalboxError || error.name === 'UnknownRefusalError';
}

function messageOf(reason: unknown): string {
  return reason instanceof Error ? reason.message : String(reason);
}

function wholeNumber(text: string): number {
  if (!/^-?\d{1,7}$/.test(text)) throw new InvalidArgumentError('It must be a whole number.');
  return Number(text);
}

function rank(text: string): number {
  if (!/^\d{1,7}$/.test(text) || Number(text) > 1_000_000)
    throw new InvalidArgumentError('It must be a whole number from 0 to 1000000.');
  return Number(text);
}

/** What follows the last colon is a weight if it is a number; a queue whose name ends so is named with one. */
function otherQueues(
  text: string,
  known: readonly { readonly queue: string; readonly weight: number }[] = [],
): readonly { readonly queue: string; readonly weight: number }[] {
  const [, name = text, weight = '1'] = /^(.+):(\d{1,7})$/s.exec(text) ?? [];
  if (name === '') throw new InvalidArgumentError('It must be a queue, or queue:weight.');
  return [...known, { queue: name, weight: Number(weight) }];
}
