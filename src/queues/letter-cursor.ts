import { SignalboxError } from '../protocol/errors.ts';
import { ClaimId, QueueName } from '../protocol/ids.ts';
import type { LetterPlace } from '../store/dead-letter-reads.ts';

/** A page of dead letters goes on behind its last one, wherever that is by then. */
export function letterCursor({ queue, died_at: diedAt, claim_id: claimId }: LetterPlace): string {
  return Buffer.from(JSON.stringify([queue, diedAt, claimId])).toString('base64url');
}

/** '' = from the first. Throws `invalid_request` for a cursor that is none of ours. */
export function placeOfCursor(cursor: string): LetterPlace | undefined {
  if (cursor === '') return undefined;
  const place = parsed(Buffer.from(cursor, 'base64url').toString());
  if (Array.isArray(place)) {
    const [queue, diedAt, claimId] = place as readonly unknown[];
    const names = [QueueName.safeParse(queue), ClaimId.safeParse(claimId)] as const;
    if (names[0].success && names[1].success && isInstant(diedAt))
      return { queue: names[0].data, died_at: diedAt, claim_id: names[1].data };
  }
  const message = 'is not the cursor of a page';
  throw new SignalboxError('invalid_request', {
    detail: `cursor ${message}`,
    extra: { errors: [{ in: 'query', path: '/cursor', message }] },
  });
}

/** As the database writes it, to the microsecond, and a day that there is. */
function isInstant(value: unknown): value is string {
  if (typeof value !== 'string' || !/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/.test(value)) return false;
  const at = new Date(value);
  return !Number.isNaN(at.getTime()) && at.toISOString().slice(0, 19) === value.slice(0, 19);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
