import type pg from 'pg';
import { openClients } from './clients.ts';
import type { SignalboxContender } from './contenders/http-contender.ts';
import { copyQueue } from './fill.ts';
import { pair } from './loads/pair-load.ts';

/** As many queues as every contender of the pairs has. */
export const queueCount = 10_000;

export function benchQueue(n: number): string {
  return `bench-${n}`;
}

/** Shares the queues 0 to `queues` - 1 out among clients: each goes through its own, in order, again and again. */
export function shareQueues(clients: number, queues = queueCount, nameOf = benchQueue) {
  const share = Math.floor(queues / clients);
  return (client: number, turn: number): string => nameOf(client * share + (turn % share));
}

/** Queues as they are after their first claim was released: `bench-0` to `bench-<queues - 1>`. */
export async function makeQueues(
  { urls }: SignalboxContender,
  database: pg.ClientBase,
  {
    queues = queueCount,
    prefix = 'bench',
    settings = {},
  }: { queues?: number; prefix?: string; settings?: object } = {},
): Promise<void> {
  const sample = `${prefix}-sample`;
  await configureQueue(urls[0] ?? '', sample, settings);
  using clients = openClients(urls, 1);
  await pair(clients, 0, sample);
  await copyQueue(database, { sample, copies: queues, nameOf: (n) => `'${prefix}-' || (${n} - 1)` });
  await database.query('vacuum analyze');
}

export async function configureQueue(url: string, queue: string, settings: object): Promise<void> {
  const response = await fetch(`${url}/v1/queues/${encodeURIComponent(queue)}`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(settings),
  });
  if (!response.ok) throw new Error(`${queue}: ${response.status} ${await response.text()}`);
}
