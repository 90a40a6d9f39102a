import type { TokenSnapshot } from '../access/token-snapshot.ts';
import type { Elector } from '../leadership/elector.ts';
import { Listener } from '../notifier/listener.ts';
import type { Logger } from '../telemetry/log.ts';
import type { Ground } from './ground.ts';
import type { MergeQueueService } from './merge-queue-service.ts';
import type { QueueService } from './queue-service.ts';

export interface ListenerParts {
  readonly queues: QueueService;
  readonly mergeQueues: MergeQueueService;
  readonly elector: Elector;
  readonly tokens: TokenSnapshot;
  readonly log: Logger;
}

/** Hears what other replicas say, and passes it to the part that it is for. */
export function createListener(
  { db, directUrl, replicaId, report }: Ground,
  { queues, mergeQueues, elector, tokens, log }: ListenerParts,
): Listener {
  return new Listener({
    db,
    directUrl,
    replicaId,
    onMessage: (message) => {
      if ('moved' in message) {
        const keys = message.moved.map(([queue, claimId]) => ({ queue, claim_id: claimId }));
        void queues.watcher.moved(keys).catch(report('watcher'));
      } else if ('ready' in message) for (const queue of message.ready) queues.rooms.takers.call(queue);
      else if ('merge_queues' in message) for (const queue of message.merge_queues) mergeQueues.room.wake(queue);
      else if ('resigned' in message) elector.nudge();
      else if ('tokens_changed' in message) tokens.changed();
    },
    onState: ({ works, error }) => {
      if (works) {
        log.info('notifications work');
        // What was said while nobody listened.
        tokens.changed();
      } else log.warn({ err: error }, 'notifications do not work; waiting clients are woken by polls, within a second');
    },
  });
}
