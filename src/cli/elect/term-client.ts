import { type CallOptions, type LeaseKey, SignalboxClient, type SignalboxClientOptions } from '../../client/index.ts';
import type { RenewedLease } from '../../protocol/claims.ts';

/**
 * The client of one term. A request to hand over is heard by renewals and by looks at the claim; here the first of them
 * tells, and a renewal that says it again is not taken for another one: the command gets one TERM.
 */
export class TermClient extends SignalboxClient {
  readonly #onHandOver: () => void;

  constructor(options: SignalboxClientOptions, onHandOver: () => void) {
    super(options);
    this.#onHandOver = onHandOver;
  }

  override async renew(lease: LeaseKey, options?: CallOptions & { readonly ttlMs?: number }): Promise<RenewedLease> {
    const renewed = await super.renew(lease, options);
    if (renewed.release_requested) this.#onHandOver();
    return { ...renewed, release_requested: false };
  }
}
