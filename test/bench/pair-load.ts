import { Agent, request } from 'node:http';

export interface PairLoad {
  readonly pairsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** Acquires and releases as fast as `clients` keep-alive connections can, each on queues of its own. Throws on a refusal. */
export async function pairLoad(baseUrl: string, clients: number, seconds: number): Promise<PairLoad> {
  const agent = new Agent({ keepAlive: true, maxSockets: clients });
  const post = (path: string, body: unknown) =>
    new Promise<Record<string, unknown>>((resolve, reject) => {
      const text = JSON.stringify(body);
      const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) };
      const call = request(baseUrl + path, { method: 'POST', agent, headers }, (response) => {
        let answer = '';
        response.setEncoding('utf8').on('data', (chunk: string) => (answer += chunk));
        response.on('end', () => {
          if (response.statusCode === 200) resolve(JSON.parse(answer) as Record<string, unknown>);
          else reject(new Error(`${path}: ${response.statusCode} ${answer}`));
        });
      });
      call.on('error', reject).end(text);
    });
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
  agent.destroy();
  latenciesMs.sort((a, b) => a - b);
  const at = (share: number) => latenciesMs[Math.floor((latenciesMs.length - 1) * share)] ?? NaN;
  return { pairsPerSecond: latenciesMs.length / seconds, p50Ms: at(0.5), p99Ms: at(0.99) };
}
