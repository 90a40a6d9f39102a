import { Gate } from '../access/gate.ts';
import { TokenSnapshot } from '../access/token-snapshot.ts';
import { type GoodQueuesFile, QueuesFileKeeper } from '../config/queues-file-keeper.ts';
import { replicaTarget } from '../config/replica-target.ts';
import type { Settings } from '../config/settings.ts';
import { defaultHttpLimits } from '../http/limits.ts';
import { buildHttpServer } from '../http/server.ts';
import { Elector } from '../leadership/elector.ts';
import { ReplicaRegister } from '../leadership/replica-register.ts';
import { Announcer } from '../notifier/announcer.ts';
import type { ReplicaId } from '../protocol/ids.ts';
import { FailoverWatch } from '../queues/failover-watch.ts';
import { systemClock } from '../runtime/clock.ts';
import { type Service, together } from '../runtime/service.ts';
import { programVersion } from '../runtime/version.ts';
import { Database } from '../store/database.ts';
import { failureKind } from '../store/failures.ts';
import { readDirtySlots, readLineFigures } from '../store/line-figures.ts';
import { readMergeQueueFigures } from '../store/merge-queue-figures.ts';
import { isWritablePrimary } from '../store/orchestrator-reads.ts';
import { ReplicaHealth } from '../telemetry/health.ts';
import { leadershipObserver } from '../telemetry/leadership-observer.ts';
import type { Logger } from '../telemetry/log.ts';
import { Metrics } from '../telemetry/metrics.ts';
import { queuesFileLog } from '../telemetry/queues-file-log.ts';
import { webhookObserver } from '../telemetry/webhook-observer.ts';
import { WebhookRegistry } from '../webhooks/registry.ts';
import { Door } from './door.ts';
import type { Ground } from './ground.ts';
import { createMergeQueueService } from './merge-queue-service.ts';
import { createListener } from './notifications.ts';
import { createQueueService } from './queue-service.ts';
import { createTermServices } from './term-services.ts';

export interface ReplicaOptions {
  readonly settings: Settings;
  readonly replicaId: ReplicaId;
  readonly log: Logger;
  /** May be a pooler's. */
  readonly url: string;
  /** The server itself. */
  readonly directUrl: string;
  readonly queuesFile: GoodQueuesFile | undefined;
}

export interface Replica {
  /** Where it listens, once all parts have started. */
  readonly url: string;
  /** Started in this order and stopped in reverse. */
  readonly parts: readonly Service[];
}

/** Puts a replica together, over a database that `prepareDatabase` has seen to. Nothing runs yet. */
export function assembleReplica({ settings, replicaId, log, url, directUrl, queuesFile }: ReplicaOptions): Replica {
  const clock = systemClock;
  const metrics = new Metrics();
  const report = (part: string) => (error: unknown) => {
    const level = failureKind(error) === 'defect' ? 'error' : 'warn';
    log[level]({ err: error, part }, 'a background task failed; it goes on');
  };
  const db = new Database({ url, ...settings.database, onIdleError: report('database') });
  const ground: Ground = { settings, replicaId, db, directUrl, clock, metrics, report };

  const announcer = new Announcer({ db, replicaId, onError: report('announcer') });
  const queues = createQueueService(ground, announcer);
  const mergeQueues = createMergeQueueService(ground, announcer);
  const { room, takers, cleaners } = queues.rooms;

  const tokens = new TokenSnapshot({ db, clock, onError: report('tokens') });
  const gatekeeper = new Gate({ clock, tokens, isOpenWithoutTokens: settings.isLoopback || settings.isInsecure });
  const observer = leadershipObserver({ log, metrics });
  const onWebhook = webhookObserver(log, metrics.webhooks);
  const elector = new Elector({
    db,
    replicaId,
    leaseMs: settings.leaderLeaseMs,
    clock,
    services: createTermServices(ground, { queues, mergeQueues, observer, onWebhook }),
    onEvent: observer.onLeadership,
  });
  const listener = createListener(ground, { queues, mergeQueues, elector, tokens, log });
  const health = new ReplicaHealth({
    isWritablePrimary: () => isWritablePrimary(db),
    isTimeout: (error) => failureKind(error) === 'timeout',
    leadership: () => ({ ...elector.status() }),
    notificationsWork: () => listener.works,
  });
  const failoverWatch = new FailoverWatch({
    db,
    onFailover: ({ timeline, previous, at, quarantineMs }) =>
      log.warn(
        { timeline, previous, at, quarantine_ms: quarantineMs },
        'the database failed over and may have lost its last grants; queues grant nothing new for their max_ttl_ms',
      ),
    onError: report('failover watch'),
  });

  metrics.register({
    failover: () => failoverWatch.figures(),
    waitingClients: () => room.size,
    waitingTakers: () => takers.size,
    waitingCleaners: () => cleaners.size,
    waitingBuilds: () => mergeQueues.room.size,
    pendingOperations: () => queues.decisions.pending + queues.takeDesk.pending + mergeQueues.desk.pending,
    isLeader: () => elector.status().role !== 'follower',
    leaderEpoch: () => elector.status().epoch ?? 0,
    notificationsWork: () => listener.works,
    connections: () => db.usage(),
  });
  metrics.lines.readWith(async () => {
    const [waiting, dirty] = await Promise.all([
      readLineFigures(db, { limit: 1000, timeoutMs: 1000 }),
      readDirtySlots(db, { timeoutMs: 1000 }),
    ]);
    return { waiting, dirty };
  });
  metrics.mergeQueues.readWith(() => readMergeQueueFigures(db, { limit: 1000, timeoutMs: 1000 }));

  const http = buildHttpServer({
    coordinator: queues.coordinator,
    mergeQueues: mergeQueues.coordinator,
    patterns: queues.patterns,
    webhooks: new WebhookRegistry({ db, clock, onEvent: onWebhook }),
    gatekeeper,
    health,
    metrics,
    log,
    clock,
    limits: {
      ...defaultHttpLimits,
      ...settings.http,
      // Headers are part of a request.
      headersTimeoutMs: Math.min(defaultHttpLimits.headersTimeoutMs, settings.http.requestTimeoutMs),
      drainTimeoutMs: settings.shutdownGraceMs,
    },
    observe: (route, method, status, seconds) => metrics.observeRequest(route, method, status, seconds),
    observeBatched: (op, status, count) => metrics.countBatched(op, status, count),
    observeMergeQueues: {
      inProgress: (method, change) => metrics.mergeQueues.inProgress(method, change),
      refused: (code) => metrics.mergeQueues.countRefusal(code),
    },
  });
  const door = new Door({ http, settings, rooms: [room, takers, cleaners, mergeQueues.room], health });
  const register = new ReplicaRegister({
    db,
    replicaId,
    version: programVersion,
    url: () => settings.publicUrl ?? door.url,
    onEvent: observer.onLeadership,
  });
  const keepers =
    queuesFile === undefined
      ? []
      : [
          new QueuesFileKeeper({
            file: queuesFile,
            target: replicaTarget({
              queues: queues.coordinator,
              patterns: queues.patterns,
              mergeQueues: mergeQueues.coordinator,
              actor: 'file',
            }),
            onEvent: queuesFileLog(log),
          }),
        ];

  return {
    get url() {
      return door.url;
    },
    // The door closes first, the database goes last. The leadership is given up while the door still finishes what is in
    // flight: a slow client must not keep it from the other replicas.
    parts: [
      db,
      tokens,
      announcer,
      listener,
      queues.stirrer,
      queues.watcher,
      mergeQueues.watch,
      queues.feedTail,
      failoverWatch,
      ...keepers,
      together(elector, door, register),
    ],
  };
}
