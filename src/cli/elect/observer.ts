import { isTransient, observe, type Observation, SignalboxError } from '../../client/index.ts';
import { systemClock } from '../../runtime/clock.ts';
import { inWords } from '../duration.ts';
import type { ElectFlags } from '../elect.ts';
import { exitCode, runExitCode } from '../exit-codes.ts';
import { printable } from '../printable.ts';
import type { Environment } from '../program.ts';
import { OutsideSignals } from '../run/outside-signals.ts';
import { clientOf } from '../service-options.ts';

/**
 * Prints who leads, and every change, until a signal (exit 0). With `--once` the present only: exit 0 if somebody leads, 1
 * if nobody does, 123 if the service does not say. 123 also for what it refuses.
 */
export async function observeElection(election: string, flags: ElectFlags, environment: Environment): Promise<number> {
  const client = clientOf(flags, environment);
  using signals = new OutsideSignals();
  const closed = new AbortController();
  // Nobody reads any longer: `… | head -1`.
  process.stdout.on('error', () => closed.abort());
  const signal = AbortSignal.any([signals.signal, closed.signal]);
  try {
    for await (const seen of observe(client, { election, signal })) {
      console.log(flags.json === true ? JSON.stringify(documentOf(seen)) : lineOf(seen));
      if (flags.once === true) return codeOf(seen);
    }
    return exitCode.ok;
  } catch (error) {
    if (!isTransient(error) && !(error instanceof SignalboxError)) throw error;
    console.error(`signalbox: ${error.message}`);
    return runExitCode.noService;
  }
}

function codeOf({ kind }: Observation): number {
  return { led: exitCode.ok, nobody: exitCode.failed, unknown: runExitCode.noService }[kind];
}

function leftMs(untilMs: number): number {
  return Math.max(0, Math.round(untilMs - systemClock.monotonicMs()));
}

/** One line for a person. */
function lineOf(seen: Observation): string {
  switch (seen.kind) {
    case 'led': {
      const { holder, term, acquiredAt, untilMs } = seen.leader;
      return `${seen.election}: led by ${printable(holder)}, term ${term}, since ${acquiredAt}, ${inWords(leftMs(untilMs))} left`;
    }
    case 'nobody':
      return `${seen.election}: nobody leads`;
    case 'unknown':
      return `${seen.election}: unknown (${printable(seen.error.message)})`;
    default:
      return seen satisfies never;
  }
}

/** One line for a program, in the words of the HTTP interface. */
function documentOf(seen: Observation): object {
  const { election, kind: state } = seen;
  switch (seen.kind) {
    case 'led': {
      const { holder, term, claimId, acquiredAt, expiresAt, untilMs } = seen.leader;
      return {
        election,
        state,
        term,
        holder,
        claim_id: claimId,
        acquired_at: acquiredAt,
        expires_at: expiresAt,
        ttl_remaining_ms: leftMs(untilMs),
      };
    }
    case 'nobody':
      return { election, state };
    case 'unknown':
      return { election, state, reason: seen.error.message };
    default:
      return seen satisfies never;
  }
}
