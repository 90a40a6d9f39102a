import { type Command, InvalidArgumentError } from 'commander';
import { durationMs } from './duration.ts';
import { standForElection } from './elect/candidate.ts';
import { observeElection } from './elect/observer.ts';
import type { Environment } from './program.ts';
import { type ServiceFlags, withServiceOptions } from './service-options.ts';

export interface ElectFlags extends ServiceFlags {
  readonly election?: string;
  readonly observe?: string;
  readonly prefer?: number;
  readonly ttl?: number;
  readonly once?: true;
  readonly holder?: string;
  readonly releaseGrace?: number;
  readonly json?: true;
  readonly quiet?: true;
}

/** The options of `signalbox elect`; everything from the command's name on is the command's. */
export function describeElect(command: Command): Command {
  return withServiceOptions(command)
    .description('stand for election and run a command while leading; or tell who leads')
    .option('--election <name>', 'the election to stand in: a queue of limit 1')
    .option('--prefer <n>', 'higher goes first, and asks a lower leader to hand over (default: 0)', wholeNumber)
    .option(
      '--ttl <duration>',
      "length of the lease, renewed at a third: a dead leader is followed after it (default: the queue's)",
      durationMs(1000, 86_400_000),
    )
    .option('--once', 'do not stand again after the first term; with --observe: print once')
    .option('--holder <holder>', 'who leads; must differ from every other candidate (default: host:pid:random)')
    .option(
      '--release-grace <duration>',
      'how long what the command leaves running may take to end, and how long the release is tried (default: 10s)',
      durationMs(0, 3_600_000),
    )
    .option('--observe <name>', 'print who leads this election, and every change, until a signal')
    .option('--json', 'with --observe: one JSON document a line')
    .option('--quiet', 'print only what goes wrong')
    .argument('[command...]', 'what to run while leading')
    .passThroughOptions()
    .addHelpText(
      'after',
      `
It stands again when leadership is lost or handed over, and ends when the command ends by itself or a signal comes.

Exit codes: the command's own, 128 + n if signal n ended it, and those of \`signalbox run\`:
  120  --once: not run, the candidacy ended
  121  --once: leadership was lost or not renewed in time; the command was ended
  122  not run: a signal came while waiting
  123  not run: the service cannot be reached at the start, or refused the call
  126  not executable     127  not found
With --observe --once: 0 somebody leads, 1 nobody does, 123 the service does not say.`,
    );
}

/**
 * `signalbox elect`: the command runs on the leader only, and is ended when leadership is; the rest is as in `signalbox
 * run`. In its environment are SIGNALBOX_ELECTION and SIGNALBOX_TERM too.
 */
export async function electCommand(
  flags: ElectFlags,
  words: readonly string[],
  environment: Environment,
): Promise<number> {
  const { election, observe } = flags;
  if (observe !== undefined) {
    if (election !== undefined || words.length > 0)
      throw new InvalidArgumentError('--observe only looks: it goes with neither --election nor a command.');
    return await observeElection(observe, flags, environment);
  }
  if (election === undefined) throw new InvalidArgumentError('Give --election <name> or --observe <name>.');
  if (words.length === 0) throw new InvalidArgumentError('Give the command to run while leading, behind --.');
  if (flags.json === true) throw new InvalidArgumentError('--json goes with --observe.');
  return await standForElection(election, flags, words, environment);
}

function wholeNumber(text: string): number {
  if (!/^-?\d{1,6}$/.test(text)) throw new InvalidArgumentError('It must be a whole number of up to six digits.');
  return Number(text);
}
