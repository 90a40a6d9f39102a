import { createHash } from 'node:crypto';
import { eventOf } from '../queues/event-feed.ts';
import type { EventRow } from '../store/events.ts';

/** One message to a receiver. */
export interface WebhookPage {
  readonly body: string;
  /** How many of the rows are in it: always the first ones, and at least one. */
  readonly count: number;
  /** The same for the same events to the same webhook, whoever sends them, however often. */
  readonly messageId: string;
}

const eventsMax = 100;
const bytesMax = 256 * 1024;

/** The first of these events, up to 100 and 256 KiB of them; an event that is larger than that goes alone. */
export function nextPage(webhook: string, rows: readonly EventRow[]): WebhookPage {
  const texts: string[] = [];
  let bytes = '{"events":[]}'.length;
  for (const row of rows.slice(0, eventsMax)) {
    const text = JSON.stringify(eventOf(row));
    bytes += Buffer.byteLength(text) + 1;
    if (texts.length > 0 && bytes > bytesMax) break;
    texts.push(text);
  }
  const body = `{"events":[${texts.join(',')}]}`;
  const hash = createHash('sha256').update(`${webhook}\n${body}`).digest('hex');
  return { body, count: texts.length, messageId: `msg_${hash.slice(0, 32)}` };
}
