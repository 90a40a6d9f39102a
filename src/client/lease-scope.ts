import { type AcquiredLease, type AcquireLeaseOptions, type AcquireOutcome, acquireLease } from './acquire-lease.ts';
import type { PlaceElsewhere } from '../protocol/claims.ts';
import type { SignalboxClient } from './client.ts';
import { ReleaseRequestedError } from './errors.ts';
import { LeaseKeeper } from './lease-keeper.ts';
import type { Outcome } from './requests.ts';

/** The place was not to be had: `outcome` says why. */
export class NotAcquiredError extends Error {
  readonly outcome: Exclude<AcquireOutcome, { kind: 'held' }>;

  constructor(queue: string, outcome: Exclude<AcquireOutcome, { kind: 'held' }>) {
    super(
      `no place in queue ${queue}: ${outcome.kind === 'ended' ? `${outcome.state} (${outcome.reason})` : outcome.kind}`,
    );
    this.name = 'NotAcquiredError';
    this.outcome = outcome;
  }
}

/** A lease that is renewed until the scope ends, and then released. */
export interface LeaseScope extends AsyncDisposable {
  /** Hand it to the resource: it refuses older ones per (queue, slot). */
  readonly fencingToken: number;
  readonly slot: number;
  /** Its places in other queues, each with a token of its own. */
  readonly also: readonly PlaceElsewhere[];
  readonly claimId: string;
  readonly holder: string;
  /**
   * Aborts at two thirds of the ttl without a renewal and when the lease is lost (`LeaseLostError`), and when its release is
   * asked for (`ReleaseRequestedError`).
   */
  readonly signal: AbortSignal;
  readonly keeper: LeaseKeeper;
  /** Stops renewing and releases, once; disposing does the same with outcome `success`. A failure leaves it to expire. */
  release(outcome?: Outcome): Promise<void>;
}

/** Stands in line and opens a scope. Throws `NotAcquiredError` for every outcome but `held`. */
export async function openLease(client: SignalboxClient, options: AcquireLeaseOptions): Promise<LeaseScope> {
  const outcome = await acquireLease(client, options);
  if (outcome.kind !== 'held') throw new NotAcquiredError(options.queue, outcome);
  return scopeOf(client, outcome);
}

/** A scope around a lease that is held already. */
export function scopeOf(client: SignalboxClient, acquired: AcquiredLease): LeaseScope {
  const keeper = new LeaseKeeper(client, acquired);
  const { lease } = keeper;
  const asked = new AbortController();
  keeper.on('release_requested', () => asked.abort(new ReleaseRequestedError()));
  let released: Promise<void> | undefined;
  const release = (result: Outcome = 'success') =>
    (released ??= (async () => {
      await keeper.stop();
      try {
        await client.release(lease, { outcome: result, signal: AbortSignal.timeout(lease.ttl_ms) });
      } catch {
        // It expires by itself; nobody is held up for longer than the lease.
      }
    })());
  return {
    fencingToken: lease.fencing_token,
    slot: lease.slot,
    also: lease.also ?? [],
    claimId: lease.claim_id,
    holder: lease.holder,
    signal: AbortSignal.any([keeper.signal, asked.signal]),
    keeper,
    release,
    [Symbol.asyncDispose]: () => release(),
  };
}

/**
 * Runs `work` while holding a place of a queue; renewing goes on until it has ended, whatever it does. Throws what `work`
 * throws, and `LeaseLostError` if the lease was lost meanwhile, also when `work` did not notice.
 */
export async function withLease<T>(
  client: SignalboxClient,
  queue: string | AcquireLeaseOptions,
  work: (lease: LeaseScope) => Promise<T> | T,
): Promise<T> {
  const scope = await openLease(client, typeof queue === 'string' ? { queue } : queue);
  let outcome: Outcome = 'failure';
  try {
    const result = await work(scope);
    if (scope.keeper.signal.aborted) throw scope.keeper.signal.reason;
    outcome = 'success';
    return result;
  } finally {
    await scope.release(outcome);
  }
}
