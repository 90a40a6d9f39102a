/**
 * No answer of the service: nothing listens, the connection broke, the time for an answer is over, or what answered is not
 * Signalbox (a balancer's page, say). Whether the call took effect is unknown. All calls of this client may be repeated.
 */
export class ServiceUnreachableError extends Error {
  /** The HTTP status, if something did answer. */
  readonly status: number | undefined;

  constructor(message: string, options: { readonly status?: number; readonly cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.name = 'ServiceUnreachableError';
    this.status = options.status;
  }
}

/** The service refused with a code that this version of the client does not know. */
export class UnknownRefusalError extends Error {
  readonly status: number;
  readonly code: string;

  constructor(message: string, options: { readonly status: number; readonly code: string }) {
    super(message);
    this.name = 'UnknownRefusalError';
    this.status = options.status;
    this.code = options.code;
  }
}

/**
 * Somebody cancelled a claim that is held: its holder is to stop soon and release it. The lease is as good as before until
 * then.
 */
export class ReleaseRequestedError extends Error {
  readonly reason = 'release_requested';

  constructor() {
    super('its release was asked for');
    this.name = 'ReleaseRequestedError';
  }
}

/**
 * The lease is over or about to be, before its holder gave it back. `reason` is the service's (`expired`, `broken`,
 * `max_hold`, …), or `no_renewal`: two thirds of the ttl passed without a successful renewal.
 */
export class LeaseLostError extends Error {
  readonly reason: string;

  constructor(reason: string, options: { readonly cause?: unknown } = {}) {
    super(
      reason === 'no_renewal' ? 'no renewal for two thirds of the ttl' : `the lease is over: ${reason}`,
      options.cause === undefined ? undefined : { cause: options.cause },
    );
    this.name = 'LeaseLostError';
    this.reason = reason;
  }
}
