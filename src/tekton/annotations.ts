/** Every annotation the gate reads or writes on a PipelineRun. The README lists exactly these. */
const prefix = 'signalbox.dev/';

/** What a user says of a run. */
export const asked = {
  /** The queue to stand in; without it the run is none of the gate's business. */
  queue: `${prefix}queue`,
  /** Higher goes first; 0 is usual. */
  priority: `${prefix}priority`,
  /** Length of the lease: 30s, 5m. */
  ttl: `${prefix}ttl`,
  /** What to do with a going run that has lost its place: `keep` (the usual) or `cancel`. */
  onLeaseLost: `${prefix}on-lease-lost`,
} as const;

/**
 * What the gate says of it. Each is written only when it changes; nothing here changes by itself (no ages, no counters),
 * so that a write never causes the next one.
 */
export const told = {
  /** One word: see `Decision`. */
  decision: `${prefix}decision`,
  /** 1 = next; only while the run waits. */
  position: `${prefix}position`,
  /** Why it waits, in the service's words; only while it waits. */
  waitingFor: `${prefix}waiting-for`,
  /** The claim of this run, for `signalbox status` and `cancel`. */
  claim: `${prefix}claim`,
  /** The queue that the claim is in: what `queue` was when it was made, with the gate's prefix. */
  claimedQueue: `${prefix}claimed-queue`,
  /** The token the run was started with, or the one that counts it now. */
  fencingToken: `${prefix}fencing-token`,
  /** A token with which this run must not be started any more: its place was given back. */
  voidToken: `${prefix}void-token`,
  /** What went wrong last. */
  lastError: `${prefix}last-error`,
} as const;

/** `signalbox.dev/decision`, with its one meaning each. */
export type Decision =
  /** In line. */
  | 'waiting'
  /** Its turn came, but a going run of the queue that has lost its place takes it first; or the start was refused. */
  | 'handed_back'
  /** The pending bit was cleared under a lease. */
  | 'started'
  /** It goes, and its lease is over: a new place is asked for, before all others. */
  | 'lease_lost'
  /** It goes, and has a place again, or got one after it was started past the gate. */
  | 'recovered'
  /** An operator ended its claim: it is not asked for again until this annotation is removed. */
  | 'claim_ended'
  /** Annotations that cannot be used, or a refusal of the service; `last-error` has the words. Tried again now and then. */
  | 'refused'
  /** Done, and its place given back. */
  | 'released';
