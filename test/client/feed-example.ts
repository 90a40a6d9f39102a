import type { SignalboxClient } from '../../src/client/index.ts';
import type { Event } from '../../src/protocol/events.ts';

export interface FeedExample {
  readonly cursor: string | undefined;
  readonly signal: AbortSignal;
  readonly handle: (event: Event) => Promise<void>;
  readonly save: (cursor: string | undefined) => Promise<void>;
}

/** The README's example of the feed, as it stands there. */
export async function feedExample(
  client: SignalboxClient,
  { cursor, signal, handle, save }: FeedExample,
): Promise<void> {
  // README
  const feed = client.events({ after: cursor ?? 'newest', prefix: 'deploy/', labels: { tenant: 'acme' }, signal });
  for await (const event of feed) {
    await handle(event);
    await save(feed.cursor);
  }
  // README
}
