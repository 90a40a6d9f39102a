import { randomUUID } from 'node:crypto';
import type {
  ClaimView,
  EndedClaim,
  HeldClaim,
  ReleaseAnswer,
  RenewedLease,
  WaitingClaim,
} from '../protocol/claims.ts';
import type { QueuedRun } from '../protocol/runs.ts';
import { type CallError, isTransient, refusalOf } from './answer.ts';
import { ServiceUnreachableError } from './errors.ts';
import type { CallOptions, HttpCalls } from './http-calls.ts';
import { leaseWindow, type LeaseWindow } from './lease-window.ts';
import type { BatchOperation } from './requests.ts';

/** What each operation answers: as the method of the same name does. */
interface Values {
  acquire: HeldClaim | WaitingClaim;
  get: ClaimView;
  renew: RenewedLease;
  release: ReleaseAnswer;
  cancel: HeldClaim | EndedClaim;
  break: EndedClaim;
  enqueue: { readonly created: boolean; readonly claim: QueuedRun | ClaimView };
}

/** What became of one operation. `error` is what its single call would throw. */
export type BatchResult<Op extends BatchOperation['op'] = BatchOperation['op']> =
  | {
      readonly ok: true;
      readonly value: Values[Op];
      /** When the attempt that was answered was sent, on the monotonic clock (ms): a lease counts from here. */
      readonly sentAtMs: number;
      /** Of an acquire that holds: until when its lease may be used. */
      readonly window?: LeaseWindow;
    }
  | { readonly ok: false; readonly error: CallError };

/** One result for each operation, in order. */
export type BatchResults<Operations extends readonly BatchOperation[]> = {
  -readonly [Index in keyof Operations]: BatchResult<Operations[Index]['op']>;
};

interface Answered {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
}

/**
 * Sends operations in one call, and those that met a transient failure again, by themselves, as often as any call is. Claim
 * ids that are missing are made here, so that a repeat is the same claim or run.
 */
export async function sendBatch(
  calls: HttpCalls,
  operations: readonly BatchOperation[],
  options: CallOptions,
): Promise<BatchResult[]> {
  const asked = operations.map(withId);
  const results: (BatchResult | undefined)[] = asked.map(() => undefined);
  let left = [...asked.keys()];

  const once = async (): Promise<void> => {
    let sentAtMs = 0;
    const answered = (await calls.send(
      { method: 'POST', path: 'v1/batch', body: { operations: left.map((index) => asked[index]) } },
      {
        ...options,
        retry: { attempts: 1 },
        onSend: (atMs) => {
          sentAtMs = atMs;
          options.onSend?.(atMs);
        },
      },
    )) as { readonly results: readonly Answered[] };
    if (answered.results.length !== left.length)
      throw new ServiceUnreachableError(`${left.length} operations got ${answered.results.length} results`);
    answered.results.forEach((answer, place) => {
      const index = left[place] ?? 0;
      results[index] = resultOf(asked[index]?.op, answer, sentAtMs);
    });
    left = left.filter((index) => transientIn(results[index]) !== undefined);
    const failures = left.flatMap((index) => transientIn(results[index]) ?? []);
    const slowest = failures.toSorted((a, b) => askedToWaitMs(b) - askedToWaitMs(a))[0];
    if (slowest !== undefined) throw slowest;
  };

  try {
    if (left.length > 0) await calls.repeat(once, options);
  } catch (error) {
    // Once there was an answer, what is left over has failed by itself and says so in its place.
    if (options.signal?.aborted === true || results.includes(undefined)) throw error;
  }
  return results as BatchResult[];
}

/** Only what makes something has an id that may be left out. */
function withId(operation: BatchOperation): BatchOperation {
  if (operation.op !== 'acquire' && operation.op !== 'enqueue') return operation;
  return { ...operation, claim_id: operation.claim_id ?? randomUUID() };
}

function resultOf(op: BatchOperation['op'] | undefined, { status, body }: Answered, sentAtMs: number): BatchResult {
  if (status >= 300) return { ok: false, error: refusalOf(status, body) };
  if (op === 'enqueue')
    return { ok: true, value: { created: status === 201, claim: body as unknown as QueuedRun | ClaimView }, sentAtMs };
  const value = body as unknown as HeldClaim | EndedClaim;
  if (op === 'acquire' && value.state === 'held')
    return { ok: true, value, sentAtMs, window: leaseWindow(sentAtMs, value, value.ttl_ms) };
  return { ok: true, value, sentAtMs };
}

function transientIn(result: BatchResult | undefined): CallError | undefined {
  return result?.ok === false && isTransient(result.error) ? result.error : undefined;
}

function askedToWaitMs(error: CallError): number {
  return 'retryAfterMs' in error ? (error.retryAfterMs ?? 0) : 0;
}
