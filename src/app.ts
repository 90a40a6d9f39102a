import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Gate } from './access/gate.ts';
import { TokenSnapshot } from './access/token-snapshot.ts';
import type { ConfiguredMergeQueue } from './config/merge-queue-file.ts';
import { type GoodQueuesFile, QueuesFileKeeper } from './config/queues-file-keeper.ts';
import { replicaTarget } from './config/replica-target.ts';
import { type Settings, SettingsError } from './config/settings.ts';
import { defaultHttpLimits } from './http/limits.ts';
import { type HttpServer, buildHttpServer } from './http/server.ts';
import { Elector } from './leadership/elector.ts';
import { ReplicaRegister } from './leadership/replica-register.ts';
import { ChoreRunner } from './maintenance/chore.ts';
import { historyChore } from './maintenance/history-pruner.ts';
import { mergeQueueChores } from './maintenance/merge-queue-reaper.ts';
import { patternChore } from './maintenance/pattern-chore.ts';
import { reaperChores } from './maintenance/reaper.ts';
import { applyConfiguredQueues } from './merge-queue/configured-queues.ts';
import { countedEvent } from './merge-queue/chronicle.ts';
import { MergeQueueCoordinator } from './merge-queue/coordinator.ts';
import { MergeQueueDesk } from './merge-queue/desk.ts';
import { MergeQueueWatch } from './merge-queue/news-watch.ts';
import { WaitingBuilds } from './merge-queue/waiting-builds.ts';
import { Announcer } from './notifier/announcer.ts';
import { Listener } from './notifier/listener.ts';
import { TakerRoom } from './notifier/taker-room.ts';
import { WaitingRoom } from './notifier/waiting-room.ts';
import type { ReplicaId } from './protocol/ids.ts';
import { type MergeQueueId, parseMergeQueueName, providerId } from './protocol/merge-queue.ts';
import { createClaimDesks } from './queues/claim-desks.ts';
import { QueueCoordinator } from './queues/coordinator.ts';
import { DecisionDesk } from './queues/decision-desk.ts';
import { Stirrer } from './queues/stirrer.ts';
import { DueCalls } from './queues/due-calls.ts';
import { FailoverWatch } from './queues/failover-watch.ts';
import { FeedTail } from './queues/feed-tail.ts';
import { News } from './queues/news.ts';
import { Patterns } from './queues/patterns.ts';
import { TakeDesk } from './queues/take-desk.ts';
import { Watcher } from './queues/watcher.ts';
import { backoffMs } from './runtime/backoff.ts';
import { systemClock } from './runtime/clock.ts';
import { type Service, startAll, stopAll } from './runtime/service.ts';
import { programVersion } from './runtime/version.ts';
import { Database } from './store/database.ts';
import { type EmbeddedServer, openEmbeddedServer } from './store/embedded/index.ts';
import { failureKind, isRefusedLogin } from './store/failures.ts';
import { readLineFigures } from './store/line-figures.ts';
import { readMergeQueueFigures } from './store/merge-queue-figures.ts';
import { migrate } from './store/migrator.ts';
import { isWritablePrimary } from './store/orchestrator-reads.ts';
import { readTokens } from './store/tokens.ts';
import { ReplicaHealth } from './telemetry/health.ts';
import type { Logger } from './telemetry/log.ts';
import { Metrics } from './telemetry/metrics.ts';
import { queuesFileLog } from './telemetry/queues-file-log.ts';
import { leadershipObserver } from './telemetry/leadership-observer.ts';
import { webhookObserver } from './telemetry/webhook-observer.ts';
import { PostOffice } from './webhooks/post-office.ts';
import { WebhookRegistry } from './webhooks/registry.ts';

export interface AppOptions {
  readonly settings: Settings;
  readonly replicaId: ReplicaId;
  readonly log: Logger;
  /** Merge queues to make or set before it serves. */
  readonly configured?: readonly ConfiguredMergeQueue[];
  /** The file of `QUEUES_FILE`: applied before it serves, and whenever it changes. */
  readonly queuesFile?: GoodQueuesFile | undefined;
  /** Aborts a start that waits for its database. */
  readonly signal?: AbortSignal;
}

/** One running replica. `stop()` finishes what is in flight, resigns and lets the database go; it may be called twice. */
export interface App extends AsyncDisposable {
  /** Where it listens, e.g. http://127.0.0.1:8080. */
  readonly url: string;
  readonly database: { readonly url: string; readonly embedded: 'no' | 'started' | 'joined' };
  stop(): Promise<void>;
}

/**
 * Puts a replica together and starts it: database (embedded unless a URL is set), schema, then the parts in order; they
 * stop in reverse. A database that cannot be reached yet is waited for. Throws `SettingsError` if other machines could
 * reach it and no token was ever made.
 */
export async function startApp({
  settings,
  replicaId,
  log,
  configured = [],
  queuesFile,
  signal,
}: AppOptions): Promise<App> {
  const embedded =
    settings.databaseUrl === undefined
      ? await openEmbeddedServer({ dataDir: settings.dataDir, log: (message) => log.info(message) })
      : undefined;
  try {
    const url = embedded?.url ?? settings.databaseUrl ?? '';
    const directUrl = embedded?.url ?? settings.databaseDirectUrl ?? url;
    await whenReachable(log, signal, async () => {
      await bringSchemaUpToDate(directUrl, settings, log, signal);
      await refuseOpenDoor(directUrl, settings);
      await configureMergeQueues(directUrl, settings, log, configured);
    });
    return await startReplica({ settings, replicaId, log, url, directUrl, embedded, queuesFile });
  } catch (error) {
    await embedded?.leave();
    throw error;
  }
}

async function whenReachable(log: Logger, signal: AbortSignal | undefined, work: () => Promise<void>): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      await work();
      return;
    } catch (error) {
      const passes = ['unavailable', 'contended', 'timeout'].includes(failureKind(error)) && !isRefusedLogin(error);
      if (!passes || signal?.aborted === true) throw error;
      log.warn({ reason: error instanceof Error ? error.message : String(error) }, 'no database yet; trying again');
      await sleep(backoffMs(attempt, { firstMs: 500, maxMs: 5000 }), undefined, signal === undefined ? {} : { signal });
    }
  }
}

async function bringSchemaUpToDate(
  connectionString: string,
  settings: Settings,
  log: Logger,
  signal: AbortSignal | undefined,
): Promise<void> {
  const report = await migrate({ connectionString, roleTimeouts: settings.database.roleTimeouts, signal });
  if (report.applied.length > 0 || report.functionsApplied) log.info({ ...report }, 'schema brought up to date');
  if (report.schemaIsNewer) log.warn('the schema is of a newer program; it is used as it is');
}

/** Without any token everybody may do everything; then only this machine may reach us, unless the operator says so. */
async function refuseOpenDoor(url: string, settings: Settings): Promise<void> {
  if (settings.isLoopback || settings.isInsecure) return;
  await using db = new Database({ url, ...settings.database });
  const { exist } = await readTokens(db);
  if (exist) return;
  throw new SettingsError([
    `HOST: ${settings.host} can be reached from other machines, and no token was ever made. ` +
      'Make one with `signalbox token create --name <who> --scope admin`, or listen on 127.0.0.1, ' +
      'or set SIGNALBOX_INSECURE=true if something else guards the port.',
  ]);
}

async function configureMergeQueues(
  url: string,
  settings: Settings,
  log: Logger,
  configured: readonly ConfiguredMergeQueue[],
): Promise<void> {
  if (configured.length === 0) return;
  await using db = new Database({ url, ...settings.database });
  const changed = await applyConfiguredQueues(db, configured);
  if (changed.length > 0) log.info({ mergeQueues: changed }, 'merge queues set as the file says');
}

interface ReplicaOptions {
  readonly settings: Settings;
  readonly replicaId: ReplicaId;
  readonly log: Logger;
  readonly url: string;
  readonly directUrl: string;
  readonly embedded: EmbeddedServer | undefined;
  readonly queuesFile: GoodQueuesFile | undefined;
}

async function startReplica({
  settings,
  replicaId,
  log,
  url,
  directUrl,
  embedded,
  queuesFile,
}: ReplicaOptions): Promise<App> {
  const clock = systemClock;
  const metrics = new Metrics();
  const report = (part: string) => (error: unknown) => {
    const level = failureKind(error) === 'defect' ? 'error' : 'warn';
    log[level]({ err: error, part }, 'a background task failed; it goes on');
  };

  const db = new Database({ url, ...settings.database, onIdleError: report('database') });
  const room = new WaitingRoom();
  const takers = new TakerRoom();
  const cleaners = new TakerRoom();
  const announcer = new Announcer({ db, replicaId, onError: report('announcer') });
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
  const builds = new WaitingBuilds();
  const mergeQueueMoved = ({ name }: MergeQueueId) => {
    builds.wake(name);
    announcer.announceMergeQueue(name);
  };
  const mergeQueueDesk = new MergeQueueDesk({
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
      mergeQueueMoved(id);
    },
  });
  const mergeQueues = new MergeQueueCoordinator({
    db,
    clock,
    desk: mergeQueueDesk,
    room: builds,
    ...settings.mergeQueue,
    onNews: mergeQueueMoved,
  });
  const mergeQueueWatch = new MergeQueueWatch({ db, room: builds, onError: report('merge-queue-watch') });
  const tokens = new TokenSnapshot({ db, clock, onError: report('tokens') });
  const gatekeeper = new Gate({ clock, tokens, isOpenWithoutTokens: settings.isLoopback || settings.isInsecure });
  const observer = leadershipObserver({ log, metrics });
  const onWebhook = webhookObserver(log, metrics.webhooks);
  const chores = [
    ...reaperChores({
      db,
      clock,
      leaseMs: settings.leaderLeaseMs,
      queueIdleMs: settings.queueIdleMs,
      autoCreateQueues: settings.autoCreateQueues,
      deadLetterRetentionMs: settings.deadLetterRetentionMs,
      onMoved: (moved, sentAtMs) => news.spread(moved, sentAtMs),
    }),
    ...mergeQueueChores({
      db,
      leaseMs: settings.leaderLeaseMs,
      idleMs: settings.queueIdleMs,
      tick: async (name, term) => {
        const id = parseMergeQueueName(name);
        return id === undefined ? 0 : (await mergeQueueDesk.tick(id, term)).length;
      },
    }),
    patternChore({
      leaseMs: settings.leaderLeaseMs,
      finish: (term, termSignal) => patterns.finishAbandoned(term, termSignal),
    }),
    historyChore({
      db,
      directUrl,
      historyRetentionDays: settings.historyRetentionDays,
      onEvent: observer.onChore,
    }),
  ];
  const elector = new Elector({
    db,
    replicaId,
    leaseMs: settings.leaderLeaseMs,
    clock,
    services: ({ term, signal: termSignal, reportDeposed }) => [
      ...chores.map(
        (chore) => new ChoreRunner({ db, clock, chore, term, termSignal, reportDeposed, onEvent: observer.onChore }),
      ),
      new PostOffice({ db, clock, feedTail, term, reportDeposed, onError: report('webhooks'), onEvent: onWebhook }),
    ],
    onEvent: observer.onLeadership,
  });
  const listener = new Listener({
    db,
    directUrl,
    replicaId,
    onMessage: (message) => {
      if ('moved' in message) {
        const keys = message.moved.map(([queue, claimId]) => ({ queue, claim_id: claimId }));
        void watcher.moved(keys).catch(report('watcher'));
      } else if ('ready' in message) for (const queue of message.ready) takers.call(queue);
      else if ('merge_queues' in message) for (const queue of message.merge_queues) builds.wake(queue);
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
    waitingBuilds: () => builds.size,
    pendingOperations: () => decisions.pending + takeDesk.pending + mergeQueueDesk.pending,
    isLeader: () => elector.status().role !== 'follower',
    leaderEpoch: () => elector.status().epoch ?? 0,
    notificationsWork: () => listener.works,
    connections: () => db.usage(),
  });
  metrics.lines.readWith(() => readLineFigures(db, { limit: 1000, timeoutMs: 1000 }));
  metrics.mergeQueues.readWith(() => readMergeQueueFigures(db, { limit: 1000, timeoutMs: 1000 }));
  const http = buildHttpServer({
    coordinator,
    mergeQueues,
    patterns,
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
  const door = new Door({ http, settings, rooms: [room, takers, cleaners, builds], health });
  const register = new ReplicaRegister({
    db,
    replicaId,
    version: programVersion,
    url: () => settings.publicUrl ?? door.url,
    onEvent: observer.onLeadership,
  });
  const keeper =
    queuesFile === undefined
      ? []
      : [
          new QueuesFileKeeper({
            file: queuesFile,
            target: replicaTarget({ queues: coordinator, patterns, mergeQueues, actor: 'file' }),
            onEvent: queuesFileLog(log),
          }),
        ];

  // Started in this order and stopped in reverse: the door closes first, the database goes last. The leadership is given
  // up while the door still finishes what is in flight: a slow client must not keep it from the other replicas.
  const parts: Service[] = [
    db,
    tokens,
    announcer,
    listener,
    stirrer,
    watcher,
    mergeQueueWatch,
    feedTail,
    failoverWatch,
    ...keeper,
    together(elector, door, register),
  ];
  await startAll(parts);
  log.info(
    { url: door.url, version: programVersion, database: embedded === undefined ? 'external' : 'embedded' },
    'ready',
  );

  let stopped: Promise<void> | undefined;
  const stop = () => (stopped ??= stopAll(parts).finally(() => embedded?.leave()));
  return {
    url: door.url,
    database: { url, embedded: embedded === undefined ? 'no' : embedded.joined ? 'joined' : 'started' },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

/** Services that start in order and stop at the same time. */
function together(...services: readonly Service[]): Service {
  const stop = async () => {
    const outcomes = await Promise.allSettled(services.map((service) => service.stop()));
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
  };
  return {
    name: services.map(({ name }) => name).join('+'),
    start: () => startAll(services),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

interface DoorOptions {
  readonly http: HttpServer;
  readonly settings: Settings;
  readonly rooms: readonly { close(): void }[];
  readonly health: ReplicaHealth;
}

/**
 * The listening side: opened when all else runs. Closing turns `/readyz` red at once, serves on until balancers have
 * noticed (`shutdownDelayMs`), then answers those who wait with their claims' present state.
 */
class Door implements Service {
  readonly name = 'http';
  readonly #options: DoorOptions;
  #url = '';

  constructor(options: DoorOptions) {
    this.#options = options;
  }

  get url(): string {
    return this.#url;
  }

  async start(): Promise<void> {
    const { http, settings } = this.#options;
    await http.listen({ host: settings.host, port: settings.port });
    const { address, family, port } = http.server.address() as AddressInfo;
    this.#url = `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
  }

  async stop(): Promise<void> {
    const { http, settings, rooms, health } = this.#options;
    health.beginStopping();
    if (http.server.listening && settings.shutdownDelayMs > 0) await sleep(settings.shutdownDelayMs);
    for (const room of rooms) room.close();
    await http.drain();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}
