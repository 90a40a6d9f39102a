/**
 * The local, monotonic clock. It measures windows inside this process (deadlines, trust windows, waited times) and is
 * never compared with a time that came from the database: rows are judged by the database's clock alone.
 */
export interface Clock {
  /** Milliseconds since an arbitrary start; never goes back; fractions included. */
  monotonicMs(): number;
}

export const systemClock: Clock = { monotonicMs: () => performance.now() };
