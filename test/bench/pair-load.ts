import { keepAlivePosts } from './keep-alive-posts.ts';

export interface PairLoad {
  readonly pairsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** Acquires and releases as fast as `clients` keep-alive connections can, each on queues of its own. Throws on a refusal. */
export async function pairLoad(baseUrl: string, clients: number, seconds: number): Promise<PairLoad> {
  using connections = keepAlivePosts(baseUrl, clients);
  const { post } = connections;
  const latenciesMs: number[] = [];
  const endAtMs = performance.now() + seconds * 1000;
  const perClient = Math.floor(1000 / clients);
  await Promise.all(
    Array.from({ length: clients }, async (_, client) => {
      for (let turn = 0; performance.now() < endAtMs; turn++) {
        const queue = `bench-${client * perClient + (turn % perClient)}`;
        const startedAtMs = performance.now();
        const lease = await post(`/v1/queues/${queue}/acquire`, { holder: `client-${client}` });
        const path = `/v1/queues/${queue}/claims/${String(lease['claim_id'])}/release`;
        const answer = await post(path, { fencing_token: lease['fencing_token'] });
        if (answer['released'] !== true) throw new Error(`${path}: not released`);
        latenciesMs.push(performance.now() - startedAtMs);
      }
    }),
  );
  latenciesMs.sort((a, b) => a - b);
  const at = (share: number) => latenciesMs[Math.floor((latenciesMs.length - 1) * share)] ?? NaN;
  return { pairsPerSecond: latenciesMs.length / seconds, p50Ms: at(0.5), p99Ms: at(0.99) };
}
