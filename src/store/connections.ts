import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';

/** How long a connection may take to say goodbye: a peer that went away without a word never answers. */
export const goodbyeMs = 1000;

/** Closes the socket at once; the statement under way fails. What the server makes of it is unknown. */
export function cutConnection(client: pg.ClientBase): void {
  // The driver has no call for it; its own timeouts do the same.
  (client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
}

/** Ends a connection, its socket included, within about a second. Never rejects. */
export async function endConnection(client: pg.Client): Promise<void> {
  await within(goodbyeMs, client.end());
  cutConnection(client);
}

/**
 * The connections of some pools, those that are still being made or still being closed included: `pool.end()` waits for
 * neither, and one open socket keeps a process alive.
 */
export class PoolConnections {
  readonly #open = new Set<pg.Client>();
  /** What the pools are to make their clients of. */
  readonly Client: typeof pg.Client;

  constructor() {
    const open = this.#open;
    this.Client = class extends pg.Client {
      constructor(config?: string | pg.ClientConfig) {
        super(config);
        open.add(this);
        this.once('end', () => open.delete(this));
      }
    };
  }

  /** Ends the pools and every socket of them within about a second. Never rejects. */
  async end(pools: readonly pg.Pool[]): Promise<void> {
    const closed = [...this.#open].map((client) => new Promise<void>((resolve) => client.once('end', () => resolve())));
    await within(goodbyeMs, Promise.all([...pools.map((pool) => (pool.ending ? undefined : pool.end())), ...closed]));
    this.cut();
  }

  cut(): void {
    for (const client of this.#open) cutConnection(client);
  }
}

async function within(ms: number, work: Promise<unknown>): Promise<void> {
  const enough = new AbortController();
  const timeout = sleep(ms, undefined, { signal: enough.signal });
  await Promise.allSettled([Promise.race([work, timeout])]);
  enough.abort();
  await timeout.catch(() => undefined);
}
