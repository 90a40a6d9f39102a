import { z } from 'zod';
import type { ReplicaId } from '../protocol/ids.ts';
import type { ClaimKey } from '../store/decisions.ts';
import { payloadBytesMax } from '../store/notifications.ts';

/** What replicas tell each other. Ids only; who needs more reads rows. */
const Message = z.union([
  z.object({ from: z.string(), moved: z.array(z.tuple([z.string(), z.string()])) }),
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

/** As few payloads as the size limit allows. */
export function encodeMoved(from: ReplicaId, keys: readonly ClaimKey[]): string[] {
  const payloads: string[] = [];
  let moved: [string, string][] = [];
  let bytes = 0;
  const flush = () => {
    if (moved.length > 0) payloads.push(JSON.stringify({ from, moved }));
    moved = [];
    bytes = JSON.stringify({ from, moved }).length;
  };
  flush();
  for (const { queue, claim_id: claimId } of keys) {
    // Names are ASCII: characters are bytes. Six for quotes, brackets and commas.
    const size = queue.length + claimId.length + 8;
    if (bytes + size > payloadBytesMax) flush();
    moved.push([queue, claimId]);
    bytes += size;
  }
  flush();
  return payloads;
}
