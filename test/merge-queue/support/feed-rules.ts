import type { TestDatabase } from '../../support/database.ts';
import { rowsOf } from '../../support/sql-verbs.ts';

interface FeedEvent {
  readonly type: string;
  readonly claim_id: string | null;
  readonly data: { readonly priority?: number; readonly fencing_token?: number };
}

/** How the feed of one merge queue ends: nothing held or handed on, and who is still registered. */
export interface FeedEnd {
  readonly mode: 'open' | 'held' | 'draining' | 'inheriting';
  readonly registered: readonly string[];
  readonly completed: ReadonlySet<string>;
  readonly evicted: ReadonlySet<string>;
  readonly succeeded: ReadonlySet<string>;
}

/**
 * Plays the feed of a merge queue against the rules in words, and throws at the first event that breaks one: newcomers only
 * while it is open, one lease at a time and to a highest one, tokens that only grow, a success that completes those registered, a
 * failure that hands down to them, opened only when all are told or through. Knows nothing of the state machine.
 */
export async function playFeed(
  db: TestDatabase,
  queue: string,
  { onlyContained }: { readonly onlyContained: boolean },
): Promise<FeedEnd> {
  const feed = await rowsOf<FeedEvent>(
    db,
    'select type, claim_id, data from signalbox.events where queue = $1 order by id',
    [queue],
  );
  const pending = new Map<string, number>();
  const completed = new Set<string>();
  const evicted = new Set<string>();
  const succeeded = new Set<string>();
  let mode: FeedEnd['mode'] = 'open';
  let holder: { readonly sha: string; readonly priority: number; readonly token: number } | undefined;
  let newestToken = 0;

  for (const [index, { type, claim_id: sha, data }] of feed.entries()) {
    const insist = (isRight: boolean, rule: string) => {
      if (isRight) return;
      const story = feed.slice(0, index + 1).map((event) => `${event.type} ${event.claim_id ?? ''}`);
      throw new Error(`event ${index} (${type} ${sha ?? ''}, ${mode}): ${rule}\n${story.join('\n')}`);
    };
    const { priority = 0, fencing_token: token = 0 } = data;
    const isCompleted = (of: number) => !onlyContained || of < (holder?.priority ?? 0);
    switch (type) {
      case 'merge_request.registered':
        insist(mode === 'open', 'newcomers are let in only while it is open');
        insist(sha !== null && !pending.has(sha), 'it is registered already');
        pending.set(sha ?? '', priority);
        break;
      case 'merge_request.updated':
        insist(pending.has(sha ?? ''), 'it is not registered');
        pending.set(sha ?? '', priority);
        break;
      case 'merge_request.acquired':
        insist(mode === 'open' || mode === 'inheriting', 'two holders');
        insist(pending.has(sha ?? ''), 'it is not registered');
        insist(
          [...pending.values()].every((other) => other <= priority),
          'the lease goes to a highest one',
        );
        insist(token > newestToken, 'tokens only grow');
        pending.delete(sha ?? '');
        holder = { sha: sha ?? '', priority, token };
        newestToken = token;
        mode = 'held';
        break;
      case 'merge_request.succeeded':
      case 'merge_request.failed':
      case 'merge_request.cancelled':
      case 'merge_request.expired':
        insist(mode === 'held' && holder?.sha === sha && holder.token === token, 'it does not hold the lease');
        mode = type === 'merge_request.succeeded' ? 'draining' : 'inheriting';
        if (mode === 'draining') succeeded.add(sha ?? '');
        break;
      case 'merge_request.completed':
        insist(mode === 'draining', 'only a success completes');
        insist(isCompleted(pending.get(sha ?? '') ?? Infinity), 'it is registered, and what the success completes');
        pending.delete(sha ?? '');
        completed.add(sha ?? '');
        break;
      case 'merge_request.evicted':
        insist(pending.delete(sha ?? ''), 'it is not registered');
        evicted.add(sha ?? '');
        break;
      case 'merge_queue.opened':
        insist(mode === 'draining' || mode === 'inheriting', 'it is open already, or held');
        insist(
          mode === 'draining' ? ![...pending.values()].some(isCompleted) : pending.size === 0,
          'somebody is still to be told or to have the lease',
        );
        mode = 'open';
        holder = undefined;
        break;
      default:
        throw new Error(`an event nobody expects: ${type}`);
    }
  }
  return { mode, registered: [...pending.keys()], completed, evicted, succeeded };
}
