import type { QueueDetail } from '../protocol/queues.ts';
import { backoffMs } from '../runtime/backoff.ts';
import { systemClock } from '../runtime/clock.ts';
import { Pause } from '../runtime/pause.ts';
import type { SignalboxClient } from './client.ts';

export interface DrainOptions {
  /** Gives up after so long (ms): the queue stays closed. Default: waits for ever. */
  readonly timeoutMs?: number | undefined;
  /** Told with every look at the queue, the last one included. */
  readonly onLook?: (queue: QueueDetail) => void;
  /** Gives up and throws the signal's reason; the queue stays closed. */
  readonly signal?: AbortSignal | undefined;
}

/** What is left in a queue that is closed. */
export interface Drained {
  /** Nobody holds a place, waits or is delayed. */
  readonly empty: boolean;
  readonly queue: QueueDetail;
}

/**
 * Closes a queue and waits until nobody holds a place, waits in line or is delayed there, or until `timeoutMs`. Runs count
 * too, so somebody must take them; dead letters, and what SQL put into the inbox, do not. The queue stays closed. Throws
 * `queue_not_found`: it makes no queue.
 */
export async function drainQueue(
  client: SignalboxClient,
  name: string,
  { timeoutMs = Infinity, onLook, signal = new AbortController().signal }: DrainOptions = {},
): Promise<Drained> {
  const startedAtMs = systemClock.monotonicMs();
  await client.getQueue(name, { signal });
  let queue = await client.configureQueue(name, { closed: true }, { signal });
  for (let looks = 0; ; looks++) {
    onLook?.(queue);
    const empty = isEmpty(queue);
    const leftMs = startedAtMs + timeoutMs - systemClock.monotonicMs();
    if (empty || leftMs <= 0) return { empty, queue };
    await new Pause().wait(Math.min(leftMs, backoffMs(looks, { firstMs: 200, maxMs: 2000 })), signal);
    signal.throwIfAborted();
    queue = await client.getQueue(name, { signal });
  }
}

function isEmpty({ held, waiting, delayed }: QueueDetail): boolean {
  return held + waiting + delayed === 0;
}
