import { SignalboxError } from '../protocol/errors.ts';
import { JsonText } from '../protocol/json-text.ts';
import { payloadBytesMax } from '../protocol/runs.ts';
import { memberText } from './member-text.ts';

/** The payload of an enqueue as it was written; 413 if it is too long. */
export function payloadOf(enqueueText: string): JsonText | undefined {
  const text = memberText(enqueueText, 'payload');
  if (text === undefined) return undefined;
  const bytes = Buffer.byteLength(text);
  if (bytes > payloadBytesMax)
    throw new SignalboxError('payload_too_large', {
      detail: `The payload has ${bytes} bytes; ${payloadBytesMax} are the most.`,
    });
  return new JsonText(text);
}
