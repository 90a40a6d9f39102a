import type { Announcer } from '../notifier/announcer.ts';
import { TakerRoom } from '../notifier/taker-room.ts';
import { WaitingRoom } from '../notifier/waiting-room.ts';
import { createClaimDesks } from '../queues/claim-desks.ts';
import { QueueCoordinator } from '../queues/coordinator.ts';
import { DecisionDesk } from '../queues/decision-desk.ts';
import { DueCalls } from '../queues/due-calls.ts';
import { FeedTail } from '../queues/feed-tail.ts';
import { News } from '../queues/news.ts';
import { Patterns } from '../queues/patterns.ts';
import { Stirrer } from '../queues/stirrer.ts';
import { TakeDesk } from '../queues/take-desk.ts';
import { Watcher } from '../queues/watcher.ts';
import type { Ground } from './ground.ts';

/** Queues, claims, leases and runs: desks that put calls to the database, rooms where clients wait, and who wakes them. */
export function createQueueService({ settings, replicaId, db, clock, metrics, report }: Ground, announcer: Announcer) {
  const room = new WaitingRoom();
  const takers = new TakerRoom();
  const cleaners = new TakerRoom();
  const dueCalls = new DueCalls((queue) => takers.call(queue));
  const stirrer = new Stirrer({ db, clock, news: () => news, onError: report('stirrer') });
  const news: News = new News({
    room,
    takers,
    cleaners,
    announcer,
    onDelayed: (queue, dueInMs) => dueCalls.expect(queue, dueInMs),
    onStir: (queues) => stirrer.stir(queues),
    onDecisions: (decisions) => metrics.countDecisions(decisions),
  });
  const decisions = new DecisionDesk({
    db,
    clock,
    news,
    autoCreateQueues: settings.autoCreateQueues,
    batchMax: settings.batchMax,
    inFlightMax: settings.database.connections.decide,
    pendingMax: settings.pendingMax,
    lineWaitMs: settings.lineWaitMs,
    onBatch: (size) => metrics.observeBatch(size),
  });
  const takeDesk = new TakeDesk({ db, clock, news, pendingMax: settings.pendingMax });
  const watcher = new Watcher({ db, clock, room, takers, cleaners, news, onError: report('watcher') });
  const feedTail = new FeedTail({ db, onError: report('feed-tail') });
  const coordinator = new QueueCoordinator({
    db,
    clock,
    feedTail,
    replicaId,
    news,
    decisions,
    room,
    ...createClaimDesks({
      db,
      clock,
      batchMax: settings.batchMax,
      pendingMax: settings.pendingMax,
      inFlight: settings.database.connections,
    }),
    takeDesk,
    takers,
    cleaners,
    autoCreateQueues: settings.autoCreateQueues,
    lineWaitMs: settings.lineWaitMs,
    onError: report('takes'),
    onStoppedListening: (key) => watcher.stoppedListening(key),
  });
  const patterns = new Patterns({ db, clock, news, onError: report('patterns') });
  return {
    coordinator,
    patterns,
    news,
    decisions,
    takeDesk,
    watcher,
    stirrer,
    feedTail,
    rooms: { room, takers, cleaners },
  };
}

export type QueueService = ReturnType<typeof createQueueService>;
