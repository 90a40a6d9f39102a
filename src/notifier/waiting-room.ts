import type { ClaimKey, Decision } from '../store/decisions.ts';

/** News of a claim, and when (monotonic, this replica) the statement that brought it was sent. */
export interface Arrival {
  readonly decision: Decision;
  readonly sentAtMs: number;
}

/** One client that waits for its claim. Leaving is idempotent. */
export interface Seat extends Disposable {
  /**
   * The next news of the claim: `undefined` when the time is over, the client hung up, or the room closes. News that
   * came between entering and waiting is not lost.
   */
  wait(options: { readonly timeoutMs: number; readonly signal: AbortSignal }): Promise<Arrival | undefined>;
  leave(): void;
}

/**
 * The clients that wait on this replica, woken from memory. A client enters before its claim is sent to the database, so
 * that no grant can fall between the answer "waiting" and the wait.
 */
export class WaitingRoom {
  readonly #seats = new Map<string, Set<(arrival: Arrival) => void>>();
  readonly #closing = new AbortController();

  enter(key: ClaimKey): Seat {
    const place = seatKey(key);
    let arrived: Arrival | undefined;
    let wake: ((arrival: Arrival) => void) | undefined;
    const tell = (arrival: Arrival) => {
      arrived = arrival;
      wake?.(arrival);
    };
    const present = this.#seats.get(place) ?? new Set();
    this.#seats.set(place, present.add(tell));
    const leave = () => {
      present.delete(tell);
      if (present.size === 0 && this.#seats.get(place) === present) this.#seats.delete(place);
    };
    const closing = this.#closing.signal;
    return {
      leave,
      [Symbol.dispose]: leave,
      wait: ({ timeoutMs, signal }) =>
        new Promise((resolve) => {
          if (arrived !== undefined || closing.aborted || signal.aborted || timeoutMs <= 0) {
            resolve(arrived);
            return;
          }
          const end = (arrival?: Arrival) => {
            clearTimeout(timer);
            signal.removeEventListener('abort', giveUp);
            closing.removeEventListener('abort', giveUp);
            wake = undefined;
            resolve(arrival);
          };
          const giveUp = () => end();
          const timer = setTimeout(giveUp, timeoutMs);
          signal.addEventListener('abort', giveUp);
          closing.addEventListener('abort', giveUp);
          wake = end;
        }),
    };
  }

  has(key: ClaimKey): boolean {
    return this.#seats.has(seatKey(key));
  }

  /** How many clients wait. */
  get size(): number {
    let size = 0;
    for (const seats of this.#seats.values()) size += seats.size;
    return size;
  }

  /** The claims somebody waits for. */
  keys(): ClaimKey[] {
    return [...this.#seats.keys()].map((place) => {
      const [queue = '', claimId = ''] = place.split('\n');
      return { queue, claim_id: claimId };
    });
  }

  /** Gives news to whoever waits here for the claim. False = nobody does. */
  deliver(arrival: Arrival): boolean {
    const { queue, claim_id: claimId } = arrival.decision;
    if (claimId === null) return false;
    const seats = this.#seats.get(seatKey({ queue, claim_id: claimId }));
    if (seats === undefined) return false;
    for (const tell of seats) tell(arrival);
    return true;
  }

  /** Ends every wait, now and from now on: the replica stops. The claims keep their places. */
  close(): void {
    this.#closing.abort();
  }
}

/** Neither part can contain a line break. */
function seatKey({ queue, claim_id: claimId }: ClaimKey): string {
  return `${queue}\n${claimId}`;
}
