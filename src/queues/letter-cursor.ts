import { z } from 'zod';
import { SignalboxError } from '../protocol/errors.ts';
import { ClaimId, QueueName } from '../protocol/ids.ts';
import type { LetterPlace } from '../store/dead-letter-reads.ts';

const Place = z.tuple([QueueName, z.string().regex(/^\d{4,6}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/), ClaimId]);

/** A page of dead letters goes on behind its last one, wherever that is by then. */
export function letterCursor({ queue, died_at: diedAt, claim_id: claimId }: LetterPlace): string {
  return Buffer.from(JSON.stringify([queue, diedAt, claimId])).toString('base64url');
}

/** '' = from the first. Throws `invalid_request` for a cursor that is none of ours. */
export function placeOfCursor(cursor: string): LetterPlace | undefined {
  if (cursor === '') return undefined;
  const place = Place.safeParse(parsed(Buffer.from(cursor, 'base64url').toString()));
  if (!place.success) {
    const message = 'is not the cursor of a page';
    throw new SignalboxError('invalid_request', {
      detail: `cursor ${message}`,
      extra: { errors: [{ in: 'query', path: '/cursor', message }] },
    });
  }
  const [queue, diedAt, claimId] = place.data;
  return { queue, died_at: diedAt, claim_id: claimId };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
