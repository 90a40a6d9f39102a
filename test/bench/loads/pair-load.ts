import { randomUUID } from 'node:crypto';
import { acquirePath, claimPath, type Clients, type Lease } from '../clients.ts';
import { quantile } from '../statistics.ts';

export interface PairRate {
  readonly pairs: number;
  readonly perSecond: number;
  /** Of a whole pair, both calls. */
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export interface PairLoadOptions {
  readonly seconds: number;
  /** Queues of one client only: an acquire that is not granted at once fails the load. */
  readonly queueOf: (client: number, turn: number) => string;
  /** The name of a claim nobody has used, as our own client gives one; undefined: the server makes it. */
  readonly claimIdOf?: ((client: number, turn: number) => string | undefined) | undefined;
}

/** Acquires and releases in turn, each client as fast as it can. Throws on a refusal. */
export async function pairLoad(clients: Clients, options: PairLoadOptions): Promise<PairRate> {
  const load = randomUUID();
  const { claimIdOf = (client, turn) => `${load}-${client}-${turn}` } = options;
  const latenciesMs: number[] = [];
  const startedAtMs = performance.now();
  const endAtMs = startedAtMs + options.seconds * 1000;
  await Promise.all(
    Array.from({ length: clients.count }, async (_, client) => {
      for (let turn = 0; performance.now() < endAtMs; turn++) {
        const sentAtMs = performance.now();
        await pair(clients, client, options.queueOf(client, turn), claimIdOf(client, turn));
        latenciesMs.push(performance.now() - sentAtMs);
      }
    }),
  );
  const seconds = (performance.now() - startedAtMs) / 1000;
  return {
    pairs: latenciesMs.length,
    perSecond: latenciesMs.length / seconds,
    p50Ms: quantile(latenciesMs, 0.5),
    p99Ms: quantile(latenciesMs, 0.99),
  };
}

/** One acquire, granted at once, and its release. */
export async function pair(clients: Clients, client: number, queue: string, claimId?: string): Promise<void> {
  const lease = await clients.post<Lease>(client, acquirePath(queue), {
    holder: `client-${client}`,
    claim_id: claimId,
  });
  const path = claimPath(queue, lease.claim_id, 'release');
  const answer = await clients.post<{ released: boolean }>(client, path, { fencing_token: lease.fencing_token });
  if (!answer.released) throw new Error(`${path}: not released`);
}
