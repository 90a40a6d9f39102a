import type { Socket } from 'node:net';
import { type FastifyReply, type FastifyRequest, type RouteOptions, fastify } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import type { Logger } from 'pino';
import type { Gatekeeper } from '../protocol/access.ts';
import type { Coordinator, Health } from '../protocol/coordinator.ts';
import { SignalboxError } from '../protocol/errors.ts';
import type { MergeQueues } from '../protocol/merge-queue.ts';
import type { QueuePatterns } from '../protocol/patterns.ts';
import type { Webhooks } from '../protocol/webhooks.ts';
import type { Clock } from '../runtime/clock.ts';
import { programVersion } from '../runtime/version.ts';
import { RouteTable, admit } from './admission.ts';
import { authorise, authoriseBody } from './authorization.ts';
import { LongPolls } from './call-context.ts';
import { answerClientErrors } from './client-error.ts';
import { readJsonBodies } from './json-body.ts';
import type { HttpLimits } from './limits.ts';
import {
  type MergeQueueObserver,
  answerUnreadableUrl,
  isMergeQueueUrl,
  mergeQueueServer,
  withoutTrailingSlash,
} from './merge-queue/server.ts';
import { type DocumentedRoute, openApiDocument } from './openapi.ts';
import type { HttpApp, Operation } from './operation.ts';
import { fixedHeaders, problemOfRead, sendProblem, toSignalboxError } from './problem.ts';
import { type ObserveBatched, type ObserveRequest, requestSummary } from './request-log.ts';
import { validatorCompiler } from './request-validation.ts';
import { batchRoutes } from './routes/batch.ts';
import { blockedQueueRoutes } from './routes/blocked-queues.ts';
import { claimRoutes } from './routes/claims.ts';
import { cleaningRoutes } from './routes/cleaning.ts';
import { deadLetterRoutes } from './routes/dead-letters.ts';
import { eventRoutes } from './routes/events.ts';
import { holderRoutes } from './routes/holders.ts';
import { mergeQueueRoutes } from './routes/merge-queues.ts';
import { orchestratorRoutes } from './routes/orchestrator.ts';
import { queuePatternRoutes } from './routes/queue-patterns.ts';
import { queueRoutes } from './routes/queues.ts';
import { runRoutes } from './routes/runs.ts';
import { type MetricsText, serviceRoutes } from './routes/service.ts';
import { webhookRoutes } from './routes/webhooks.ts';

export interface HttpServerOptions {
  readonly coordinator: Coordinator;
  readonly mergeQueues: MergeQueues;
  readonly patterns: QueuePatterns;
  readonly webhooks: Webhooks;
  /** Says who calls. Not optional: a server that forgot it would be open. */
  readonly gatekeeper: Gatekeeper;
  readonly health: Health;
  readonly metrics: MetricsText;
  readonly log: Logger;
  readonly clock: Clock;
  readonly limits: HttpLimits;
  /** Told about every finished request. */
  readonly observe?: ObserveRequest;
  /** Told about the operations of every batch. */
  readonly observeBatched?: ObserveBatched;
  /** Told about the calls of /merge-queue. */
  readonly observeMergeQueues?: MergeQueueObserver;
}

export type HttpServer = HttpApp & {
  /**
   * Stops in order: new requests get 503 `shutting_down` and `connection: close`, waits end at once, answers under way
   * are finished (for `drainTimeoutMs` at most, then cut), every connection is closed. Resolves when all is closed; a
   * second call waits for the first. `close()` alone does the same.
   */
  drain(): Promise<void>;
};

function isAbortOrReset(thrown: unknown): boolean {
  return (
    thrown instanceof Error && (thrown.name === 'AbortError' || ('code' in thrown && thrown.code === 'ECONNRESET'))
  );
}

/** Names are read from a body only after it was checked by the schema they are read by. */
function requireReadableNames({ needs }: Operation, body: unknown, route: string): void {
  if (typeof needs === 'object' && typeof needs.queues === 'object' && needs.queues.schema !== body)
    throw new Error(`${route} does not check its body with the schema its queues are named in`);
}

/** The HTTP side of a replica, not listening yet: `listen()` opens a port, `inject()` needs none. */
export function buildHttpServer(options: HttpServerOptions): HttpServer {
  const { log, clock, limits } = options;
  const longPolls = new LongPolls();
  const routes = new RouteTable();
  const documented: DocumentedRoute[] = [];
  const summariseWhenDone = requestSummary(options);

  const app: HttpApp = fastify({
    // Our own one line a request replaces fastify's, and its child logger for each request.
    logger: false,
    bodyLimit: limits.bodyBytesMax,
    connectionTimeout: limits.connectionTimeoutMs,
    requestTimeout: limits.requestTimeoutMs,
    keepAliveTimeout: limits.keepAliveTimeoutMs,
    maxRequestsPerSocket: 0,
    http: {
      maxHeaderSize: limits.headerBytesMax,
      headersTimeout: limits.headersTimeoutMs,
      requestTimeout: limits.requestTimeoutMs,
      // Node looks for late requests every 30 s unless told otherwise; so 10 s would mean up to 40.
      connectionsCheckingInterval: Math.ceil(limits.headersTimeoutMs / 4),
    },
    // Its own 503 is not a problem document; `admit` answers in its place.
    return503OnClosing: false,
    // No name is cut short by the router: what is too long for a name is a fault of the request, not an unknown route.
    routerOptions: { maxParamLength: limits.urlBytesMax },
    rewriteUrl: ({ url = '/' }) => withoutTrailingSlash(url),
    clientErrorHandler: answerClientErrors(limits),
    // A URL the router cannot read meets no hook.
    frameworkErrors: (error, request, reply) => {
      request.receivedAtMs = clock.monotonicMs();
      summariseWhenDone(request, reply);
      if (isMergeQueueUrl(request.raw.url ?? '')) answerUnreadableUrl(request, reply, options.gatekeeper);
      else sendProblem(reply, toSignalboxError(error));
    },
  }).withTypeProvider<ZodTypeProvider>();
  app.server.maxConnections = limits.connectionsMax;

  app.decorateRequest('receivedAtMs', 0);
  app.decorateRequest('problemCode', undefined);
  app.decorateRequest('bodyText', undefined);
  app.decorateRequest('batched', undefined);
  app.decorateRequest('caller', undefined);
  app.decorateRequest('bodyKind', 'other');
  app.setValidatorCompiler(validatorCompiler);
  // Checking answers against their schema costs 7 µs a claim, JSON.stringify 1.4 (measured); our own rows need no
  // check, so response schemas type the handlers and make the document, and nothing else.
  app.setSerializerCompiler(() => (data) => JSON.stringify(data));
  readJsonBodies(app);

  app.addHook('onRequest', (request, reply, done) => {
    request.receivedAtMs = clock.monotonicMs();
    reply.headers(fixedHeaders);
    summariseWhenDone(request, reply);
    try {
      admit(request, reply, { routes, longPolls, urlBytesMax: limits.urlBytesMax });
      request.caller = authorise(request, options.gatekeeper);
      done();
    } catch (error) {
      done(error as Error);
    }
  });
  app.addHook('preHandler', (request, _reply, done) => {
    try {
      authoriseBody(request);
      done();
    } catch (error) {
      done(error as Error);
    }
  });
  app.addHook('onSend', (_request, reply, _payload, done) => {
    // A keep-alive connection whose answer comes after the stop began would otherwise stay open, idle.
    if (longPolls.draining) reply.header('connection', 'close');
    done();
  });
  app.addHook('onRoute', (route: RouteOptions) => {
    for (const method of [route.method].flat()) {
      routes.add(route.url, method);
      const operation = route.config?.operation;
      if (operation === undefined) throw new Error(`${method} ${route.url} does not say what it is and needs`);
      requireReadableNames(operation, route.schema?.body, `${method} ${route.url}`);
      if (method !== 'HEAD')
        documented.push({
          method,
          url: route.url,
          operation,
          schema: route.config?.documented ?? ((route.schema ?? {}) as DocumentedRoute['schema']),
        });
    }
  });
  /** The error as one of ours; a defect is written to the log. */
  const settle = (thrown: unknown, request: FastifyRequest, reply: FastifyReply): SignalboxError => {
    const isEndedWait = longPolls.draining && isAbortOrReset(thrown);
    const error = isEndedWait ? new SignalboxError('shutting_down', { cause: thrown }) : toSignalboxError(thrown);
    // A call that ends because its client hung up is what we asked for, not a defect.
    const isHangUp = reply.raw.destroyed && isAbortOrReset(thrown);
    if (error.code === 'internal_error' && !isHangUp)
      log.error(
        {
          err: error.cause ?? error,
          instance: error.extra['instance'],
          method: request.method,
          route: request.routeOptions.url,
        },
        'request met a defect',
      );
    return request.method === 'GET' ? problemOfRead(error) : error;
  };
  app.setErrorHandler((thrown, request, reply) => sendProblem(reply, settle(thrown, request, reply)));

  claimRoutes(app, { coordinator: options.coordinator, longPolls });
  runRoutes(app, { coordinator: options.coordinator, longPolls, limits });
  cleaningRoutes(app, { coordinator: options.coordinator, longPolls });
  holderRoutes(app, { coordinator: options.coordinator, longPolls, limits });
  batchRoutes(app, options);
  deadLetterRoutes(app, { coordinator: options.coordinator, limits });
  blockedQueueRoutes(app, options);
  queueRoutes(app, options);
  queuePatternRoutes(app, options);
  mergeQueueRoutes(app, options);
  mergeQueueServer(app, { ...options, longPolls, settle });
  orchestratorRoutes(app, options);
  eventRoutes(app, { ...options, longPolls });
  webhookRoutes(app, { ...options, longPolls });
  let document: Record<string, unknown> | undefined;
  serviceRoutes(app, {
    health: options.health,
    metrics: options.metrics,
    longPolls,
    openApi: () => (document ??= openApiDocument(documented, programVersion)),
    routeNames: () => documented.map(({ method, url }) => `${method} ${url.replace(/:([a-z_]+)/g, '{$1}')}`),
  });

  // Node counts a connection as idle only after its first request: one that never sent a byte would be waited for.
  const silent = new Set<Socket>();
  app.server.on('connection', (socket: Socket) => {
    silent.add(socket);
    socket.once('close', () => silent.delete(socket));
  });
  app.server.on('request', ({ socket }) => silent.delete(socket));
  let cut: NodeJS.Timeout | undefined;
  app.addHook('preClose', (done) => {
    longPolls.drain();
    for (const socket of silent) if (socket.bytesRead === 0) socket.destroy();
    cut = setTimeout(() => app.server.closeAllConnections(), limits.drainTimeoutMs);
    done();
  });
  app.addHook('onClose', (_app, done) => {
    clearTimeout(cut);
    done();
  });

  return Object.assign(app, {
    drain: async () => {
      longPolls.drain();
      await app.close();
    },
  });
}
