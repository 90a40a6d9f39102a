import { z } from 'zod';
import type { ReplicaId } from '../protocol/ids.ts';
import type { ClaimKey } from '../store/decisions.ts';
import { payloadBytesMax } from '../store/notifications.ts';

/** What replicas tell each other. Ids only; who needs more reads rows. */
const Message = z.union([
  z.object({ from: z.string(), moved: z.array(z.tuple([z.string(), z.string()])) }),
  // Also sent by the SQL function enqueue, in its caller's commit.
  z.object({ from: z.string(), ready: z.array(z.string()) }),
  z.object({ from: z.string(), merge_queues: z.array(z.string()) }),
  // Sent by the SQL function resign, in its own commit.
  z.object({ from: z.string(), resigned: z.literal(true) }),
  // Sent by create_token and revoke_token, in their own commit.
  z.object({ from: z.string(), tokens_changed: z.literal(true) }),
  z.object({ from: z.string(), probe: z.string() }),
]);
export type Message = z.infer<typeof Message>;

/** A payload of another program or version that cannot be read is no message. */
export function decode(payload: string): Message | undefined {
  try {
    return Message.safeParse(JSON.parse(payload)).data;
  } catch {
    return undefined;
  }
}

export function encodeProbe(from: ReplicaId, probe: string): string {
  return JSON.stringify({ from, probe });
}

export function encodeMoved(from: ReplicaId, keys: readonly ClaimKey[]): string[] {
  return inPayloads(
    keys.map(({ queue, claim_id: claimId }): [string, string] => [queue, claimId]),
    (moved) => ({ from, moved }),
  );
}

export function encodeReady(from: ReplicaId, queues: readonly string[]): string[] {
  return inPayloads(queues, (ready) => ({ from, ready }));
}

export function encodeMergeQueues(from: ReplicaId, queues: readonly string[]): string[] {
  return inPayloads(queues, (names) => ({ from, merge_queues: names }));
}

/** As few payloads as the size limit allows. Names are ASCII: characters are bytes. */
function inPayloads<Entry>(entries: readonly Entry[], message: (entries: readonly Entry[]) => unknown): string[] {
  const payloads: string[] = [];
  const empty = JSON.stringify(message([])).length;
  let some: Entry[] = [];
  let bytes = empty;
  for (const entry of entries) {
    const size = JSON.stringify(entry).length + 1;
    if (bytes + size > payloadBytesMax && some.length > 0) {
      payloads.push(JSON.stringify(message(some)));
      [some, bytes] = [[], empty];
    }
    some.push(entry);
    bytes += size;
  }
  if (some.length > 0) payloads.push(JSON.stringify(message(some)));
  return payloads;
}
