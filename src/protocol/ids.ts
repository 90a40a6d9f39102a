import { z } from 'zod';

/** What PostgreSQL cannot store as text (NUL, half of a surrogate pair) and what breaks logs (control characters). */
const controlCharacters = /[\u0000-\u001f\u007f]/;

const nameForm = /^[A-Za-z0-9._:/@-]{1,200}$/;
const nameMessage = 'must be 1 to 200 characters of A-Z a-z 0-9 . _ : / @ -, and not dots only';

function name(what: string) {
  return z
    .string()
    .regex(nameForm, `${what} ${nameMessage}`)
    .refine((value) => !/^\.+$/.test(value), `${what} ${nameMessage}`);
}

/** The name of a queue. */
export const QueueName = name('queue').brand<'QueueName'>().meta({ description: 'The name of a queue.' });
export type QueueName = z.infer<typeof QueueName>;

/** A wish to hold a place; unique within its queue. */
export const ClaimId = name('claim_id')
  .brand<'ClaimId'>()
  .meta({ description: 'The id of a claim, unique in its queue.' });
export type ClaimId = z.infer<typeof ClaimId>;

/** Text of a person or program: no control characters, well-formed Unicode. */
export function plainText(maxLength: number) {
  return z
    .string()
    .min(1)
    .max(maxLength)
    .refine((value) => !controlCharacters.test(value) && value.isWellFormed(), 'must not contain control characters');
}

/** Who holds. Unique per attempt: two processes that share it cannot be told apart (host:pid:random is a good one). */
export const HolderId = plainText(200)
  .refine((value) => value !== '.' && value !== '..', 'must not be . or .., which no URL can name')
  .brand<'HolderId'>()
  .meta({ description: 'Who asks, unique per attempt, e.g. host:pid:random. 1 to 200 characters.' });
export type HolderId = z.infer<typeof HolderId>;

/** The number of a grant. It only grows within its queue; exact as a JSON number. */
export const FencingToken = z
  .int()
  .min(1)
  .max(Number.MAX_SAFE_INTEGER)
  .brand<'FencingToken'>()
  .meta({ description: 'The number of a grant; it only grows within its queue.' });
export type FencingToken = z.infer<typeof FencingToken>;

/** One running process of ours: host:pid:random, fixed for its life. */
export type ReplicaId = string & z.$brand<'ReplicaId'>;

/** The number of a leader's term; it only grows. */
export type Epoch = number & z.$brand<'Epoch'>;
