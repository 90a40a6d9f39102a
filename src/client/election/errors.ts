/** Why a leader's `signal` aborts when it stepped down by itself. */
export class ResignedError extends Error {
  readonly reason = 'resigned';

  constructor() {
    super('it has resigned');
    this.name = 'ResignedError';
  }
}

/**
 * The queue has more places than one, and this process got another one than the first. Only who holds slot 1 leads, so
 * there is no second leader; but no election either. Set its `concurrency_limit` to 1.
 */
export class NotAnElectionError extends Error {
  readonly election: string;

  constructor(election: string) {
    super(`${election} is no election: its queue has more places than one (set its concurrency_limit to 1)`);
    this.name = 'NotAnElectionError';
    this.election = election;
  }
}
