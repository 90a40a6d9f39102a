import { setTimeout as sleep } from 'node:timers/promises';
import type { HeldClaim } from '../../src/protocol/claims.ts';
import type { SeenGrant } from './admission-history.ts';
import { type ClaimReply, TestClient } from './http-client.ts';

export interface LoadOptions {
  /** Replicas; clients are spread over them, and ask a waiting claim again on the next one. */
  readonly urls: readonly string[];
  readonly queue: string;
  readonly clients: number;
  readonly attempts: number;
  /** Every so many attempts a holder with ttl_ms 1000 never releases. */
  readonly abandonEvery: number;
}

export interface LoadResult {
  readonly seen: readonly SeenGrant[];
  /** When clients believed to hold, by this process's monotonic clock in ms: from the answer to the release, or to their own deadline. */
  readonly beliefs: readonly { readonly from: number; readonly to: number }[];
  readonly durationMs: number;
  readonly requests: number;
  readonly granted: number;
  readonly busy: number;
  readonly abandoned: number;
  readonly unexpected: readonly string[];
}

/**
 * Many clients that ask for one queue in every way: a third waits (long-poll, asking again at the other replica), the others take
 * it or leave it; holds of 0–5 ms; every seventh holder renews; a few never release.
 */
export async function runLoad({ urls, queue, clients, attempts, abandonEvery }: LoadOptions): Promise<LoadResult> {
  const replicas = urls.map((url) => new TestClient(url));
  const seen: SeenGrant[] = [];
  const beliefs: { from: number; to: number }[] = [];
  const unexpected: string[] = [];
  let [next, requests, granted, busy, abandoned] = [0, 0, 0, 0, 0];
  const startedAt = performance.now();

  const count = <T>(reply: Promise<T>): Promise<T> => {
    requests++;
    return reply;
  };
  const odd = (what: string, reply: { status: number; body: unknown }) =>
    unexpected.push(`${what}: ${reply.status} ${JSON.stringify(reply.body)}`);

  const use = async (client: TestClient, lease: HeldClaim, deadline: number, attempt: number, leave: boolean) => {
    const from = performance.now();
    seen.push({ claimId: lease.claim_id, token: lease.fencing_token });
    granted++;
    if (leave) {
      abandoned++;
      beliefs.push({ from, to: deadline });
      return;
    }
    if (attempt % 6 > 0) await sleep(attempt % 6);
    if (attempt % 7 === 0) {
      const renewed = await count(client.renew(lease));
      if (renewed.status !== 200) odd('renew', renewed);
    }
    beliefs.push({ from, to: performance.now() });
    const released = await count(client.release(lease));
    if (released.status !== 200 || released.body.released !== true) odd('release', released);
  };

  const client = async (number: number) => {
    for (let attempt = next++; attempt < attempts; attempt = next++) {
      const leave = attempt % abandonEvery === abandonEvery - 1;
      const waits = leave || attempt % 3 === 0;
      const body = {
        holder: `client-${number}`,
        claim_id: `attempt-${attempt}`,
        ttl_ms: leave ? 1000 : 30_000,
        ...(waits ? { wait_ms: 10_000 } : { mode: 'skip_if_busy' as const }),
      };
      for (let asked = 0; ; asked++) {
        const replica = replicas[(number + asked) % replicas.length] ?? new TestClient('');
        const sentAt = performance.now();
        const reply: ClaimReply = await count(replica.acquire(queue, body));
        if (reply.status === 200) {
          const lease = reply.body as HeldClaim;
          await use(replica, lease, sentAt + lease.waited_ms + lease.ttl_remaining_ms, attempt, leave);
        } else if (reply.status === 202) continue;
        else if (reply.status === 409 && !waits) busy++;
        else odd('acquire', reply);
        break;
      }
    }
  };
  await Promise.all(Array.from({ length: clients }, (_, number) => client(number)));
  const durationMs = performance.now() - startedAt;
  return { seen, beliefs, durationMs, requests, granted, busy, abandoned, unexpected };
}
