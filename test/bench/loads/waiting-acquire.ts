import { acquirePath, claimPath, type Clients, type Lease } from '../clients.ts';

const waitMs = 60_000;
let claims = 0;

/** Asks, and goes on asking for the same claim, until the queue is the client's. */
export async function acquireWaiting(clients: Clients, client: number, queue: string): Promise<Lease> {
  const claim = { holder: `client-${client}`, claim_id: `waits-${++claims}`, wait_ms: waitMs };
  for (;;) {
    const answer = await clients.post<Lease & { state: string }>(client, acquirePath(queue), claim);
    if (answer.state === 'held') return answer;
  }
}

export async function release(clients: Clients, client: number, queue: string, lease: Lease): Promise<void> {
  const path = claimPath(queue, lease.claim_id, 'release');
  const { released } = await clients.post<{ released: boolean }>(client, path, { fencing_token: lease.fencing_token });
  if (!released) throw new Error(`${path}: not released`);
}
