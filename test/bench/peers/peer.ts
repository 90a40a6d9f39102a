export interface Rate {
  readonly perSecond: number;
  /** Of a whole pair, not of one request. */
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export interface HandOff {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly handOffs: number;
}

/** A lock service driven by clients of this process. */
export interface LockPeer {
  readonly name: string;
  /** Acquire + release, each client on keys of its own (10,000 keys in all), for `seconds`. */
  pairs(clients: number, seconds: number): Promise<Rate>;
  /**
   * `waiters` clients on one lock. A holder releases 2 ms after it was granted and rejoins 15 ms later; measured from
   * just before release is sent to the next holder being told. Missing where not measured.
   */
  handOff?(waiters: number, handOffs: number): Promise<HandOff>;
  close(): Promise<void>;
}

/** A job queue: fills itself with no-op jobs (not measured), then claims + completes them all. */
export interface QueuePeer {
  readonly name: string;
  claimAndComplete(jobs: number): Promise<{ readonly perSecond: number }>;
  close(): Promise<void>;
}
