import { countedEvent } from '../merge-queue/chronicle.ts';
import { MergeQueueCoordinator } from '../merge-queue/coordinator.ts';
import { MergeQueueDesk } from '../merge-queue/desk.ts';
import { MergeQueueWatch } from '../merge-queue/news-watch.ts';
import { WaitingBuilds } from '../merge-queue/waiting-builds.ts';
import type { Announcer } from '../notifier/announcer.ts';
import { type MergeQueueId, providerId } from '../protocol/merge-queue.ts';
import type { Ground } from './ground.ts';

/** Merge queues: the desk that puts calls to the state machine, and the builds that wait. */
export function createMergeQueueService({ settings, db, clock, metrics, report }: Ground, announcer: Announcer) {
  const room = new WaitingBuilds();
  const onNews = ({ name }: MergeQueueId) => {
    room.wake(name);
    announcer.announceMergeQueue(name);
  };
  const desk = new MergeQueueDesk({
    db,
    clock,
    ...settings.mergeQueue,
    decideWithinMs: settings.lineWaitMs,
    pendingMax: settings.pendingMax,
    onEvents: (id, events, nowMs) => {
      metrics.mergeQueues.countEvents(
        providerId(id),
        events.map((event) => countedEvent(event, nowMs)),
      );
      onNews(id);
    },
  });
  const coordinator = new MergeQueueCoordinator({ db, clock, desk, room, ...settings.mergeQueue, onNews });
  const watch = new MergeQueueWatch({ db, room, onError: report('merge-queue-watch') });
  return { coordinator, desk, watch, room };
}

export type MergeQueueService = ReturnType<typeof createMergeQueueService>;
