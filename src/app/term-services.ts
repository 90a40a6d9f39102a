import type { TermServices } from '../leadership/term-runner.ts';
import { ChoreRunner } from '../maintenance/chore.ts';
import { historyChore } from '../maintenance/history-pruner.ts';
import { mergeQueueChores } from '../maintenance/merge-queue-reaper.ts';
import { patternChore } from '../maintenance/pattern-chore.ts';
import { reaperChores } from '../maintenance/reaper.ts';
import { parseMergeQueueName } from '../protocol/merge-queue.ts';
import type { LeadershipObserver } from '../telemetry/leadership-observer.ts';
import type { webhookObserver } from '../telemetry/webhook-observer.ts';
import { PostOffice } from '../webhooks/post-office.ts';
import type { Ground } from './ground.ts';
import type { MergeQueueService } from './merge-queue-service.ts';
import type { QueueService } from './queue-service.ts';

export interface TermServicesOptions {
  readonly queues: QueueService;
  readonly mergeQueues: MergeQueueService;
  readonly observer: LeadershipObserver;
  readonly onWebhook: ReturnType<typeof webhookObserver>;
}

/** What only the leader does, for as long as its term lasts: the reaper and its sweeps, and the post of webhooks. */
export function createTermServices(
  { settings, db, directUrl, clock, report }: Ground,
  { queues, mergeQueues, observer, onWebhook }: TermServicesOptions,
): TermServices {
  const { news, patterns, feedTail } = queues;
  const leaseMs = settings.leaderLeaseMs;
  const chores = [
    ...reaperChores({
      db,
      clock,
      leaseMs,
      queueIdleMs: settings.queueIdleMs,
      autoCreateQueues: settings.autoCreateQueues,
      deadLetterRetentionMs: settings.deadLetterRetentionMs,
      onMoved: (moved, sentAtMs) => news.spread(moved, sentAtMs),
    }),
    ...mergeQueueChores({
      db,
      leaseMs,
      idleMs: settings.queueIdleMs,
      tick: async (name, term) => {
        const id = parseMergeQueueName(name);
        return id === undefined ? 0 : (await mergeQueues.desk.tick(id, term)).length;
      },
    }),
    patternChore({ leaseMs, finish: (term, termSignal) => patterns.finishAbandoned(term, termSignal) }),
    historyChore({
      db,
      directUrl,
      historyRetentionDays: settings.historyRetentionDays,
      onEvent: observer.onChore,
    }),
  ];
  return ({ term, signal: termSignal, reportDeposed }) => [
    ...chores.map(
      (chore) => new ChoreRunner({ db, clock, chore, term, termSignal, reportDeposed, onEvent: observer.onChore }),
    ),
    new PostOffice({ db, clock, feedTail, term, reportDeposed, onError: report('webhooks'), onEvent: onWebhook }),
  ];
}
