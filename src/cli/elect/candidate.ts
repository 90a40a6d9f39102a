import {
  type AcquireOutcome,
  acquireLease,
  handOverRequests,
  isTransient,
  NotAnElectionError,
  SignalboxError,
  withdrawClaim,
} from '../../client/index.ts';
import { backoffMs } from '../../runtime/backoff.ts';
import { processIdentity } from '../../runtime/ids.ts';
import { isAborted, Pause } from '../../runtime/pause.ts';
import type { ElectFlags } from '../elect.ts';
import { runExitCode } from '../exit-codes.ts';
import type { Environment } from '../program.ts';
import { OwnLines } from '../run/own-lines.ts';
import { waitingLines } from '../run/waiting-lines.ts';
import { clientOf, serviceOf } from '../service-options.ts';
import { runLedCommand } from './led-command.ts';
import { TermSignals } from './term-signals.ts';

/** How a candidacy ended, with the exit code if nothing comes after it. */
interface Candidacy {
  readonly code: number;
  /**
   * `over`: nothing more to do, whatever was asked for. `handed_over`: the place is another's now. `lost`: so was the term,
   * before it was over. `failed`: there was none.
   */
  readonly kind: 'over' | 'handed_over' | 'lost' | 'failed';
}

interface Voice {
  readonly say: (line: string) => void;
  readonly warn: (line: string) => void;
  /** Said once in a row. */
  readonly unreachable: (error: Error) => void;
  readonly heard: () => void;
}

/**
 * Stands for election and runs the command while it leads, term after term, until the command ends by itself, a signal
 * comes, or, with `--once`, the first term or campaign is over. Returns the exit code.
 */
export async function standForElection(
  election: string,
  flags: ElectFlags,
  words: readonly string[],
  environment: Environment,
): Promise<number> {
  using ownLines = new OwnLines();
  const warn = (line: string) => ownLines.print(line);
  const say = flags.quiet === true ? () => undefined : warn;
  const contact = { isLost: false, wasEver: false };
  const voice: Voice = {
    say,
    warn,
    unreachable: (error) => {
      if (!contact.isLost) say(`${error.message}; trying on`);
      contact.isLost = true;
    },
    heard: () => Object.assign(contact, { isLost: false, wasEver: true }),
  };
  for (let failures = 0; ;) {
    using signals = new TermSignals();
    const end = await standOnce(election, flags, words, environment, signals, voice);
    const isHopeless = end.code === runExitCode.noService && !contact.wasEver;
    if (end.kind === 'over' || flags.once === true || isHopeless) return end.code;
    failures = { handed_over: 0, lost: 1, failed: failures + 1 }[end.kind];
    await new Pause().wait(backoffMs(failures, { firstMs: 200, maxMs: 5000 }), signals.signal);
    if (signals.signal.aborted) return runExitCode.cancelled;
    say('standing for election again');
  }
}

async function standOnce(
  election: string,
  flags: ElectFlags,
  command: readonly string[],
  environment: Environment,
  signals: TermSignals,
  { say, warn, unreachable, heard }: Voice,
): Promise<Candidacy> {
  const client = clientOf(flags, environment);
  const ask = handOverRequests(client, signals.signal);
  const tellPlace = waitingLines(election, say);
  let outcome: AcquireOutcome;
  try {
    outcome = await acquireLease(client, {
      queue: election,
      holder: flags.holder ?? processIdentity(),
      ttlMs: flags.ttl,
      priority: flags.prefer,
      signal: signals.signal,
      onWaiting: (_position, _reason, claim) => {
        heard();
        ask(claim);
        tellPlace(claim);
      },
      onUnreachable: unreachable,
    });
  } catch (error) {
    if (signals.signal.aborted) {
      warn('a signal came while waiting: the candidacy is withdrawn');
      return { kind: 'over', code: runExitCode.cancelled };
    }
    if (!(error instanceof Error)) throw error;
    const isAway = isTransient(error);
    if (!isAway && !(error instanceof SignalboxError) && error.name !== 'UnknownRefusalError') throw error;
    warn(error.message);
    return { kind: isAway ? 'failed' : 'over', code: runExitCode.noService };
  }
  heard();
  if (outcome.kind !== 'held') {
    warn(
      `no candidacy in ${election}: ${outcome.kind === 'ended' ? `${outcome.state} (${outcome.reason})` : outcome.kind}`,
    );
    return { kind: 'failed', code: runExitCode.notAcquired };
  }
  const { lease } = outcome;
  if (isAborted(signals.signal) || lease.release_requested || lease.slot !== 1) {
    await withdrawClaim(client, election, lease.claim_id, { mayArrive: false });
    if (lease.slot !== 1) warn(new NotAnElectionError(election).message);
    if (lease.slot !== 1) return { kind: 'over', code: runExitCode.noService };
    return { kind: isAborted(signals.signal) ? 'over' : 'handed_over', code: runExitCode.cancelled };
  }
  say(`leading ${election}, term ${lease.fencing_token}`);
  const code = await runLedCommand({
    service: serviceOf(flags, environment),
    acquired: outcome,
    command,
    environment,
    graceMs: flags.releaseGrace ?? 10_000,
    signals,
    say,
    warn,
  });
  if (isAborted(signals.signal)) return { kind: 'over', code };
  if (code === runExitCode.leaseLost) return { kind: 'lost', code };
  return { kind: signals.isHandedOver ? 'handed_over' : 'over', code };
}
