import { type HttpAnswer, openHttpLoad } from './http-load.ts';

/** Clients with a keep-alive connection each, spread over the servers of one contender. One request at a time each. */
export interface Clients extends Disposable {
  readonly count: number;
  /** Which server a client is connected to. */
  serverOf(client: number): number;
  /** Any answer, as it came. */
  ask(client: number, path: string, body: unknown): Promise<HttpAnswer>;
  /** A good answer, parsed. Throws on anything but 2xx. */
  post<Answer>(client: number, path: string, body: unknown): Promise<Answer>;
}

export function openClients(urls: readonly string[], count: number): Clients {
  const perServer = Math.ceil(count / urls.length);
  const loads = urls.map((url) => openHttpLoad(url, perServer));
  const serverOf = (client: number) => client % urls.length;
  const ask = (client: number, path: string, body: unknown) => {
    const load = loads[serverOf(client)];
    if (load === undefined) throw new RangeError('no server');
    return load.post(Math.floor(client / urls.length), path, JSON.stringify(body));
  };
  return {
    count,
    serverOf,
    ask,
    post: async <Answer>(client: number, path: string, body: unknown) => {
      const answer = await ask(client, path, body);
      if (answer.status >= 300) throw new Error(`${path}: ${answer.status} ${answer.body.slice(0, 500)}`);
      return JSON.parse(answer.body) as Answer;
    },
    [Symbol.dispose]: () => {
      for (const load of loads) load.close();
    },
  };
}

/** What an acquire answers when it is granted. */
export interface Lease {
  readonly claim_id: string;
  readonly fencing_token: number;
}

export function acquirePath(queue: string): string {
  return `/v1/queues/${encodeURIComponent(queue)}/acquire`;
}

export function claimPath(queue: string, claimId: string, verb: 'release' | 'renew'): string {
  return `/v1/queues/${encodeURIComponent(queue)}/claims/${encodeURIComponent(claimId)}/${verb}`;
}
