import { z } from 'zod';
import { ClaimId, QueueName, plainText } from '../protocol/ids.ts';

/** A whole number written in digits only; `Number()` alone would take '', ' 5', '0x10' and '1e3' too. */
export function inDigits<T extends z.ZodType>(schema: T) {
  return z.preprocess((text) => (typeof text === 'string' && /^[0-9]{1,16}$/.test(text) ? Number(text) : text), schema);
}

/** `true` or `false`, nothing else. */
export const Flag = z.preprocess((text) => (text === 'true' ? true : text === 'false' ? false : text), z.boolean());

export const QueueParams = z.strictObject({ queue: QueueName });
export const ClaimParams = z.strictObject({ queue: QueueName, claim_id: ClaimId });
export const Cursor = z
  .union([z.literal(''), plainText(1000)])
  .default('')
  .meta({ description: 'next_cursor of the page before.' });
/** For calls that take no query parameters: any one is refused. */
export const NoQuery = z.strictObject({});
