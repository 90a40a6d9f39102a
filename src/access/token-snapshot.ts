import type { Scope } from '../protocol/access.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Service } from '../runtime/service.ts';
import { Ticker } from '../runtime/ticker.ts';
import type { Database } from '../store/database.ts';
import { noteTokenUse, readTokens } from '../store/tokens.ts';

export interface KnownToken {
  readonly tokenId: string;
  readonly name: string;
  readonly hash: Buffer;
  readonly scope: Scope;
  readonly queuePrefix: string;
  /** On the replica's monotonic clock, counted from when the read was sent, so never later than the database says. */
  readonly goodUntilMs: number;
}

export interface Snapshot {
  /** Monotonic; when the read was sent. What it says may have changed since. */
  readonly asOfMs: number;
  /** Some token was made once. */
  readonly tokensExist: boolean;
  readonly tokens: ReadonlyMap<string, KnownToken>;
}

export interface TokenSnapshotOptions {
  readonly db: Database;
  readonly clock: Clock;
  readonly onError: (error: unknown) => void;
}

/** The round looks every second whether to read again: so a read that failed is repeated within about a second … */
const tickMs = 1000;
/** … and one that succeeded after at most 4 s and a jittered tick, 5.1 s. A revocation that LISTEN missed shows by then. */
const readAgainAfterMs = 4000;
/** A read takes a millisecond or two. */
const timeoutMs = 3000;
/** `last_used_at` is for people; once a minute keeps it from being work. */
const noteUseEveryMs = 60_000;

/**
 * All good tokens, in memory: no call waits for a read of them. Read again when told that they changed, and every few
 * seconds in any case. A failed read keeps the last snapshot, which grows older; whoever uses it looks at its age.
 */
export class TokenSnapshot implements Service {
  readonly name = 'tokens';
  readonly #options: TokenSnapshotOptions;
  readonly #ticker: Ticker;
  #current: Snapshot | undefined;
  /** How often we were told of a change, and how many of those the snapshot has in it. */
  #changes = 0;
  #changesRead = 0;
  /** Used since it was last written down. */
  readonly #used = new Set<string>();
  readonly #notedAtMs = new Map<string, number>();

  constructor(options: TokenSnapshotOptions) {
    this.#options = options;
    this.#ticker = new Ticker({
      name: 'tokens',
      periodMs: tickMs,
      runOnce: () => this.runOnce(),
      onError: options.onError,
    });
  }

  /** undefined = never read yet. */
  get current(): Snapshot | undefined {
    return this.#current;
  }

  /** Reads once before it resolves. A database that is away now does not fail the start. */
  async start(): Promise<void> {
    if (this.#current === undefined) await this.runOnce();
    await this.#ticker.start();
  }

  stop(): Promise<void> {
    return this.#ticker.stop();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  /** Tokens were made or revoked: read now, and once more if a read is under way, which may have begun too early. */
  changed(): void {
    this.#changes++;
    this.#ticker.nudge();
  }

  /** This token let somebody in just now. */
  used(tokenId: string): void {
    this.#used.add(tokenId);
  }

  /** Reads if it is time to. Never throws: the next tick is to come after the usual pause, not with backoff. */
  async runOnce(): Promise<'again' | undefined> {
    const { clock, onError } = this.#options;
    const isDue = this.#current === undefined || clock.monotonicMs() - this.#current.asOfMs >= readAgainAfterMs;
    const changes = this.#changes;
    if (changes === this.#changesRead && !isDue) return undefined;
    try {
      await this.#read();
      this.#changesRead = changes;
      await this.#noteUse();
    } catch (error) {
      onError(error);
      return undefined;
    }
    // Told of while this round ran, when there was no pause to end.
    return this.#changes === this.#changesRead ? undefined : 'again';
  }

  async #read(): Promise<void> {
    const { db, clock } = this.#options;
    const sentAtMs = clock.monotonicMs();
    const { exist, live } = await readTokens(db, { timeoutMs });
    this.#current = {
      asOfMs: sentAtMs,
      tokensExist: exist,
      tokens: new Map(
        live.map(({ expiresInMs, ...token }) => [
          token.tokenId,
          { ...token, goodUntilMs: expiresInMs === null ? Infinity : sentAtMs + expiresInMs },
        ]),
      ),
    };
  }

  async #noteUse(): Promise<void> {
    const nowMs = this.#options.clock.monotonicMs();
    const due = [...this.#used].filter(
      (tokenId) => nowMs - (this.#notedAtMs.get(tokenId) ?? -Infinity) >= noteUseEveryMs,
    );
    if (due.length === 0) return;
    await noteTokenUse(this.#options.db, due, { timeoutMs });
    for (const tokenId of due) {
      this.#used.delete(tokenId);
      this.#notedAtMs.set(tokenId, nowMs);
    }
  }
}
