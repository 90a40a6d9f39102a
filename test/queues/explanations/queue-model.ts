/** How a queue explains a waiting claim, by the rules in words. */
export interface Explanation {
  readonly claim_id: string;
  readonly position: number;
  readonly ahead: number;
  readonly queue_depth: number;
  readonly waiting_for: string;
  readonly estimated_wait_ms: number | null;
  readonly blocked_by: readonly object[];
}

interface Slot {
  claimId: string;
  holder: string;
  weight: number;
  acquiredAtMs: number;
  expiresAtMs: number;
  /** Of a free slot: empty until then. */
  emptyUntilMs: number | undefined;
  isHeld: boolean;
  typicalMs: number | undefined;
}

interface Waiting {
  readonly claimId: string;
  readonly holder: string;
  readonly priority: number;
  readonly weight: number;
}

const ttlMs = 120_000;

/**
 * A queue in a few lines of TypeScript, told by nothing but the calls that the real one gets: a twin for its explanations.
 * Knows limits, weights, priorities, pauses, lock delays and expiry; no other settings.
 */
export class QueueModel {
  limit = 1;
  paused = false;
  lockDelayMs = 0;
  nowMs: number;
  readonly #slots: Slot[] = [];
  #line: Waiting[] = [];

  constructor(nowMs: number) {
    this.nowMs = nowMs;
  }

  get heldClaims(): readonly string[] {
    return this.#slots.filter(({ isHeld }) => isHeld).map(({ claimId }) => claimId);
  }

  acquire(claimId: string, holder: string, priority: number, weight: number): void {
    this.advance();
    // Behind all of its priority and above.
    const at = this.#line.findIndex((other) => other.priority < priority);
    this.#line.splice(at === -1 ? this.#line.length : at, 0, { claimId, holder, priority, weight });
    this.advance();
  }

  release(claimId: string): void {
    this.#end(claimId, 0);
    this.advance();
  }

  advance(): void {
    for (const slot of this.#slots)
      if (slot.isHeld && slot.expiresAtMs <= this.nowMs) this.#end(slot.claimId, this.lockDelayMs);
    if (this.paused || this.limit === 0) return;
    for (;;) {
      const [head] = this.#line;
      if (head === undefined || this.#taken() + Math.min(head.weight, this.limit) > this.limit) return;
      this.#line.shift();
      this.#grant(head);
    }
  }

  explanations(): readonly Explanation[] {
    const held = this.#slots.filter(({ isHeld }) => isHeld);
    const heldWeight = held.reduce((sum, { weight }) => sum + weight, 0);
    const isDelayed = this.#slots.some((slot) => !slot.isHeld && this.#isEmpty(slot));
    const blockedBy = held.slice(0, 10).map((slot) => ({
      claim_id: slot.claimId,
      holder: slot.holder,
      slot: this.#slots.indexOf(slot) + 1,
      ttl_remaining_ms: Math.max(0, slot.expiresAtMs - this.nowMs),
    }));
    return this.#line.map(({ claimId, weight }, ahead) => {
      const waitingFor = this.paused
        ? 'paused'
        : this.limit === 0
          ? 'limit_zero'
          : ahead > 0
            ? 'behind_others'
            : isDelayed && heldWeight < this.limit
              ? 'lock_delay'
              : 'no_free_slot';
      return {
        claim_id: claimId,
        position: ahead + 1,
        ahead,
        queue_depth: this.#line.length,
        waiting_for: waitingFor,
        estimated_wait_ms: this.paused || this.limit === 0 || weight > 1 ? null : this.#estimate(ahead),
        blocked_by: blockedBy,
      };
    });
  }

  /** The `ahead`-th place that becomes free, places in the order in which they do so, round after round. */
  #estimate(ahead: number): number | null {
    const known = this.#slots.map(({ typicalMs }) => typicalMs).filter((ms) => ms !== undefined);
    const typicalMs =
      known.length === 0 ? undefined : Math.round(known.reduce((sum, ms) => sum + ms, 0) / known.length);
    const freeInMs = this.#slots.map((slot) => {
      if (slot.isHeld)
        return this.nowMs - slot.acquiredAtMs > (typicalMs ?? -1)
          ? Infinity
          : (typicalMs ?? 0) - (this.nowMs - slot.acquiredAtMs);
      return slot.emptyUntilMs !== undefined && this.#isEmpty(slot) ? slot.emptyUntilMs - this.nowMs : 0;
    });
    while (freeInMs.length < this.limit) freeInMs.push(0);
    freeInMs.sort((a, b) => a - b);
    const places = freeInMs.slice(freeInMs.length - this.limit);
    const rounds = Math.floor(ahead / places.length);
    const ms = (places[ahead % places.length] ?? 0) + (rounds === 0 ? 0 : rounds * (typicalMs ?? Infinity));
    return Number.isFinite(ms) ? ms : null;
  }

  #isEmpty({ emptyUntilMs }: Slot): boolean {
    return emptyUntilMs !== undefined && emptyUntilMs > this.nowMs;
  }

  #taken(): number {
    return this.#slots.reduce((sum, slot) => sum + (slot.isHeld || this.#isEmpty(slot) ? slot.weight : 0), 0);
  }

  #grant({ claimId, holder, weight }: Waiting): void {
    const lease = {
      claimId,
      holder,
      weight: Math.min(weight, this.limit),
      acquiredAtMs: this.nowMs,
      expiresAtMs: this.nowMs + ttlMs,
      emptyUntilMs: undefined,
      isHeld: true,
    };
    const free = this.#slots.find((slot) => !slot.isHeld && !this.#isEmpty(slot));
    if (free === undefined) this.#slots.push({ ...lease, typicalMs: undefined });
    else Object.assign(free, lease);
  }

  #end(claimId: string, delayMs: number): void {
    const slot = this.#slots.find((one) => one.isHeld && one.claimId === claimId);
    if (slot === undefined) return;
    const heldMs = this.nowMs - slot.acquiredAtMs;
    slot.isHeld = false;
    slot.emptyUntilMs = delayMs > 0 ? Math.min(this.nowMs, slot.expiresAtMs) + delayMs : undefined;
    slot.typicalMs = slot.typicalMs === undefined ? heldMs : Math.floor((slot.typicalMs * 3 + heldMs) / 4);
  }
}

export const modelTtlMs = ttlMs;
