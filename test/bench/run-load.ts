import { randomUUID } from 'node:crypto';
import { keepAlivePosts } from './keep-alive-posts.ts';

interface Taken {
  readonly claims: readonly { readonly queue: string; readonly claim_id: string; readonly fencing_token: number }[];
}

/** The whole life of runs: enqueued, taken by prefix, released, by `clients` connections that each do all three, one by one. */
export async function runLoad(baseUrl: string, clients: number, seconds: number): Promise<number> {
  using connections = keepAlivePosts(baseUrl, clients);
  const { post } = connections;
  let done = 0;
  const endAtMs = performance.now() + seconds * 1000;
  await Promise.all(
    Array.from({ length: clients }, async (_, client) => {
      const holder = `worker-${client}`;
      for (let turn = 0; performance.now() < endAtMs; turn++) {
        const run = { claim_id: randomUUID(), payload: { turn } };
        await post(`/v1/queues/runs%2F${(client * 16 + turn) % 1000}/enqueue`, run);
        // Whose run it gets is all the same; there is at least one for it.
        const { claims } = await post<Taken>('/v1/take', { holder, prefix: 'runs/', wait_ms: 5000 });
        for (const { queue, claim_id: claimId, fencing_token: token } of claims) {
          const path = `/v1/queues/${encodeURIComponent(queue)}/claims/${claimId}/release`;
          await post(path, { fencing_token: token, outcome: 'success' });
          done++;
        }
      }
    }),
  );
  return done / seconds;
}
