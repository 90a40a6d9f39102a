import { setTimeout as sleep } from 'node:timers/promises';
import type { HeldClaim, WaitingClaim } from '../../src/protocol/claims.ts';
import type { SeenGrant } from './admission-history.ts';
import { anId, type Problem, type Reply, TestClient } from './http-client.ts';

/**
 * Clients behind a balancer. Workers take turns at one queue: acquire by long-polls under a claim id of their own, hold
 * for a moment, renew, release. Keepers hold a lease of a queue of their own and renew it. Each call is made once more
 * if it fails, as any client would; what fails twice, and what must never be answered, is in `wrong`.
 */
export class BalancedLoad {
  readonly wrong: string[] = [];
  readonly seen: SeenGrant[] = [];
  readonly kept: HeldClaim[] = [];
  /** Calls that were answered by 5xx or not at all, and made once more. */
  failedOnce: string[] = [];
  requests = 0;
  granted = 0;
  released = 0;
  renewed = 0;
  readonly #client: TestClient;
  readonly #queue: string;
  readonly #stopping = new AbortController();
  readonly #clients: Promise<void>[];

  constructor(options: { url: string; queue: string; workers: number; keepers: number }) {
    this.#client = new TestClient(options.url);
    this.#queue = options.queue;
    this.#clients = [
      ...Array.from({ length: options.workers }, (_, number) => this.#work(number)),
      ...Array.from({ length: options.keepers }, () => this.#keep()),
    ];
  }

  /** Workers end their turn, keepers stop renewing and keep what they hold. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.all(this.#clients);
  }

  get #goesOn(): boolean {
    return !this.#stopping.signal.aborted;
  }

  async #work(number: number): Promise<void> {
    for (let round = 0; this.#goesOn; round++) {
      const body = { holder: `worker-${number}`, claim_id: `claim-${number}-${round}`, ttl_ms: 30_000, wait_ms: 5000 };
      const lease = await this.#acquire(body);
      if (lease === undefined) return;
      this.granted++;
      this.seen.push({ claimId: lease.claim_id, token: lease.fencing_token });
      await sleep(20 + ((number + round) % 5) * 20);
      await this.#renew(lease);
      const reply = await this.#twice('release', () => this.#client.release(lease));
      // The answer to the first of two releases may have got lost with the replica that gave it.
      const { released, reason } = (reply?.body ?? {}) as { released?: boolean; reason?: string };
      if (released === true || reason === 'released') this.released++;
      else this.#odd('release', reply);
    }
  }

  /** Asks until it holds. A claim that waits has one place, whatever replica answers. */
  async #acquire(body: { claim_id: string; holder: string }): Promise<HeldClaim | undefined> {
    let place: string | undefined;
    for (;;) {
      const reply = await this.#twice('acquire', () => this.#client.acquire(this.#queue, body));
      if (reply?.status !== 200 && reply?.status !== 202) {
        this.#odd(`acquire ${body.claim_id}`, reply);
        return undefined;
      }
      const claim = reply.body as HeldClaim | WaitingClaim;
      place ??= claim.enqueued_at;
      if (place !== claim.enqueued_at) this.#odd(`${body.claim_id} was in line since ${place}`, reply);
      if (claim.state === 'held') return claim;
    }
  }

  async #keep(): Promise<void> {
    const reply = await this.#twice('acquire', () => this.#client.acquire(anId('kept'), { ttl_ms: 6000 }));
    if (reply?.status !== 200) {
      this.#odd('acquire', reply);
      return;
    }
    const lease = reply.body as HeldClaim;
    this.kept.push(lease);
    while (this.#goesOn) {
      await sleep(500, undefined, { signal: this.#stopping.signal }).catch(() => undefined);
      await this.#renew(lease);
    }
  }

  async #renew(lease: HeldClaim): Promise<void> {
    const reply = await this.#twice('renew', () => this.#client.renew(lease));
    if (reply?.status === 200) this.renewed++;
    else this.#odd(`renew ${lease.claim_id}`, reply);
  }

  async #twice<T>(what: string, call: () => Promise<Reply<T>>): Promise<Reply<T> | undefined> {
    for (let attempt = 0; ; attempt++) {
      this.requests++;
      let failure: string;
      try {
        const reply = await call();
        if (reply.status < 500) return reply;
        failure = `${what}: ${reply.status} ${(reply.body as Problem | undefined)?.code ?? ''}`;
      } catch (error) {
        failure = `${what}: ${String((error as Error).cause ?? error)}`;
      }
      if (attempt === 1) {
        this.wrong.push(`failed twice: ${failure}`);
        return undefined;
      }
      this.failedOnce.push(failure);
    }
  }

  #odd(what: string, reply: Reply | undefined): void {
    if (reply !== undefined) this.wrong.push(`${what}: ${reply.status} ${JSON.stringify(reply.body)}`);
  }
}
