import { randomBytes, timingSafeEqual } from 'node:crypto';
import type { Caller, Gatekeeper } from '../protocol/access.ts';
import { SignalboxError } from '../protocol/errors.ts';
import type { Clock } from '../runtime/clock.ts';
import { hashOf, parseBearer } from './token-form.ts';
import type { Snapshot } from './token-snapshot.ts';

/** A snapshot older than this is no knowledge: a token in it may have been revoked a minute ago. */
export const snapshotAgeMsMax = 60_000;

export interface GateOptions {
  readonly clock: Clock;
  readonly tokens: { readonly current: Snapshot | undefined; used(tokenId: string): void };
  /** Whether anybody may call while no token was ever made: only this machine reaches us, or something else guards us. */
  readonly isOpenWithoutTokens: boolean;
}

const anybody: Caller = { tokenId: undefined, name: undefined, scope: 'admin', queuePrefix: '' };

/**
 * Says who calls, from the snapshot alone.
 *
 * | snapshot | answer |
 * |---|---|
 * | never read | 503 `not_ready` |
 * | older than a minute (the database is away) | 503 `database_unavailable` |
 * | no token was ever made | anybody may do anything, if `isOpenWithoutTokens`; else 401 |
 * | tokens were made, though all may be revoked or expired | a good token, or 401 |
 */
export class Gate implements Gatekeeper {
  readonly #options: GateOptions;
  /** What the secret of an unknown id is compared with: the work is the same, and nothing hashes to it. */
  readonly #decoy = randomBytes(32);

  constructor(options: GateOptions) {
    this.#options = options;
  }

  identify(authorization: string | undefined): Caller {
    const { clock, tokens, isOpenWithoutTokens } = this.#options;
    const snapshot = tokens.current;
    const nowMs = clock.monotonicMs();
    if (snapshot === undefined)
      throw new SignalboxError('not_ready', {
        detail: 'This replica has not read its tokens yet.',
        retryAfterMs: 1000,
      });
    if (nowMs - snapshot.asOfMs > snapshotAgeMsMax)
      throw new SignalboxError('database_unavailable', {
        detail: 'The database has been away for so long that tokens may have been revoked; nothing was done.',
        retryAfterMs: 5000,
      });
    if (!snapshot.tokensExist && isOpenWithoutTokens) return anybody;
    if (authorization === undefined)
      throw new SignalboxError('unauthenticated', {
        detail:
          'This call needs a token: send "Authorization: Bearer sbx_…"; signalbox sends what is in SIGNALBOX_TOKEN.',
      });
    const presented = parseBearer(authorization);
    if (presented === undefined)
      throw new SignalboxError('unauthenticated', {
        detail: 'The Authorization header must be "Bearer " and one token of the form sbx_<id>_<secret>.',
      });
    const known = snapshot.tokens.get(presented.tokenId);
    const isSecretRight = timingSafeEqual(hashOf(presented.secret), known?.hash ?? this.#decoy);
    // One answer for all: which of these it is tells only whoever guesses.
    if (known === undefined || !isSecretRight || nowMs >= known.goodUntilMs)
      throw new SignalboxError('unauthenticated', {
        detail: 'The token is not known here, was revoked, or has expired.',
      });
    tokens.used(known.tokenId);
    return { tokenId: known.tokenId, name: known.name, scope: known.scope, queuePrefix: known.queuePrefix };
  }
}
