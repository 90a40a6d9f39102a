import { backoffMs } from '../runtime/backoff.ts';
import type { Outcome } from './inputs.ts';
import { stopKeeper } from './keeper.ts';
import type { LeaseFolder, LeaseRecord } from './lease-record.ts';
import type { LeaseService } from './lease-service.ts';
import type { Runner } from './runner.ts';
import { type TimeLimit, inWords, pause } from './time-limit.ts';

export type Settled =
  | { readonly kind: 'released'; readonly status: string }
  /** Nothing was ours to give back, as it may be. */
  | { readonly kind: 'nothing'; readonly why: string }
  /** It was ours and ended without us: what was done under it may not have been alone. */
  | { readonly kind: 'lost'; readonly why: string }
  | { readonly kind: 'failed'; readonly why: string };

export interface SettleOptions {
  readonly service: LeaseService;
  readonly runner: Runner;
  readonly limit: TimeLimit;
}

/**
 * Gives back what this job holds, first finding out whether it does. The record says afterwards that it is over; or, of a
 * release that failed, what it reported if that may have arrived.
 */
export async function settle(
  folder: LeaseFolder,
  record: LeaseRecord,
  outcome: Outcome,
  options: SettleOptions,
): Promise<Settled> {
  if (record.phase === 'completed') return { kind: 'nothing', why: 'this build was told completed: there is no lease' };
  if (record.phase === 'ended') return { kind: 'nothing', why: 'the lease was given back already, or never had' };
  const report = record.phase === 'acquired' ? await stopKeeper(folder, record) : undefined;
  const held = await heldBy(record, options);
  // A job that was not told of its lease and succeeded all the same (continue-on-error) did none of the work.
  const wanted = record.phase === 'asking' && outcome === 'success' ? 'cancelled' : outcome;
  const settled: Settled =
    held.kind !== 'held'
      ? held
      : typeof report?.lost === 'string'
        ? { kind: 'lost', why: report.lost }
        : await releaseHeld(held, wanted, options, (reported) => folder.writeRecord({ ...record, reported }));
  if (settled.kind !== 'failed') folder.writeRecord({ ...record, phase: 'ended', isUnsure: false });
  return settled;
}

async function heldBy(record: LeaseRecord, options: SettleOptions): Promise<HeldLease | Settled> {
  const { priority, fencingToken, reported } = record;
  if (record.phase === 'acquired')
    return { kind: 'held', priority, fencingToken: fencingToken ?? undefined, isSure: true, reported };
  return record.isUnsure ? findOut(record, options) : notGot;
}

const notGot: Settled = { kind: 'nothing', why: 'this build did not get the lease' };

export interface HeldLease {
  readonly kind: 'held';
  readonly priority: number;
  readonly fencingToken: number | undefined;
  /** Whether this job was told that it has the lease; in another job than the acquire's only a token says so. */
  readonly isSure: boolean;
  /** What an earlier release has said that may have arrived. */
  readonly reported: Outcome | null;
}

/**
 * Repeats until it is answered or the time is over. `remember` is told what may have arrived from here on: before each call
 * what it says, and null when that was refused, so that nobody repeats it in the place of a later, truer word.
 */
export async function releaseHeld(
  held: HeldLease,
  outcome: Outcome,
  options: SettleOptions,
  remember: (reported: Outcome | null) => void = () => undefined,
): Promise<Settled> {
  const { service, runner, limit } = options;
  let [reported, mayHaveArrived] = [outcome, held.reported];
  for (let attempt = 0; ; attempt++) {
    remember(reported);
    const answer = await service.release(
      { priority: held.priority, fencingToken: held.fencingToken, outcome: reported },
      limit.signal,
    );
    if (answer.kind === 'invalid' || (answer.kind === 'unavailable' && answer.mayHaveArrived))
      mayHaveArrived = reported;
    else if (answer.kind !== 'released' && mayHaveArrived !== reported) remember(null);
    switch (answer.kind) {
      case 'released':
        return answer;
      case 'invalid':
        return { kind: 'failed', why: answer.why };
      case 'not_held':
        if (answer.why === 'fencing token required')
          return { kind: 'failed', why: 'this merge queue wants the fencing token: give the input fencing_token' };
        // Without a token a release whose answer was lost looks the same as one that never was allowed.
        if (mayHaveArrived === reported && held.fencingToken === undefined)
          return { kind: 'nothing', why: `an earlier try seems to have arrived (${answer.why})` };
        if (mayHaveArrived !== null && mayHaveArrived !== reported)
          return { kind: 'lost', why: `an earlier release, ${mayHaveArrived}, may have arrived; ${answer.why}` };
        return held.isSure ? { kind: 'lost', why: answer.why } : { kind: 'nothing', why: answer.why };
      case 'refused':
        // mq-lease-service knows no such status; to it a cancelled build is one that did not succeed.
        if (reported === 'cancelled' && answer.status === 400 && isAboutStatus(answer.body.context)) {
          reported = 'failure';
          if (mayHaveArrived === 'cancelled') mayHaveArrived = null;
          break;
        }
        return { kind: 'failed', why: `the lease service refuses: ${answer.why}` };
      case 'unavailable': {
        const waitMs = Math.max(answer.retryAfterMs ?? 0, backoffMs(attempt, { firstMs: 500, maxMs: 15_000 }));
        if (waitMs >= limit.leftMs()) return { kind: 'failed', why: `the lease service did not answer: ${answer.why}` };
        runner.info(`The lease service did not answer (${answer.why}); again in ${inWords(waitMs)}`);
        await pause(waitMs, limit.signal);
        break;
      }
      default:
        answer satisfies never;
    }
  }
}

/** A call was out when the step ended: one more of the same identity is told what came of it. */
async function findOut(record: LeaseRecord, { service, runner, limit }: SettleOptions): Promise<HeldLease | Settled> {
  const { priority, reported } = record;
  runner.info('The step ended while a call was out: asking whether it got the lease');
  for (let attempt = 0; ; attempt++) {
    const answer = await service.acquire({ ...record, waitMs: 0 }, limit.signal);
    if (answer.kind === 'acquired')
      return { kind: 'held', priority, fencingToken: answer.fencingToken, isSure: true, reported };
    if (answer.kind === 'refused' || answer.kind === 'invalid')
      return { kind: 'failed', why: `the lease service does not tell whether it got it: ${answer.why}` };
    if (answer.kind !== 'unavailable') return notGot;
    const waitMs = Math.max(answer.retryAfterMs ?? 0, backoffMs(attempt, { firstMs: 500, maxMs: 15_000 }));
    if (waitMs >= limit.leftMs()) return { kind: 'failed', why: `the lease service did not answer: ${answer.why}` };
    await pause(waitMs, limit.signal);
  }
}

function isAboutStatus(context: unknown): boolean {
  return JSON.stringify(context ?? '').includes('.Status"');
}
