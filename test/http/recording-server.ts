import { pino } from 'pino';
import type { Caller } from '../../src/protocol/access.ts';
import type { CallContext, Coordinator, Health } from '../../src/protocol/coordinator.ts';
import { SignalboxError } from '../../src/protocol/errors.ts';
import type { MergeQueues } from '../../src/protocol/merge-queue.ts';
import type { QueuePatterns } from '../../src/protocol/patterns.ts';
import type { Webhooks } from '../../src/protocol/webhooks.ts';
import { type HttpLimits, defaultHttpLimits } from '../../src/http/limits.ts';
import { type HttpServer, buildHttpServer } from '../../src/http/server.ts';
import { systemClock } from '../../src/runtime/clock.ts';

export interface RecordedCall {
  readonly verb: keyof Coordinator;
  readonly args: readonly unknown[];
}

export type Answers = { [verb in keyof Coordinator]?: (...args: unknown[]) => Promise<unknown> };

export interface RecordingServer extends AsyncDisposable {
  readonly app: HttpServer;
  /** Every call that got through to the coordinator. */
  readonly calls: RecordedCall[];
  /** Every log line, parsed. */
  readonly lines: Record<string, unknown>[];
  /** Every request as the metrics hook saw it: route, method, status. */
  readonly observed: [string, string, number][];
  /** Every count of operations of batches: op, status, how many. */
  readonly batched: [string, number, number][];
}

const verbs = [
  'acquire',
  'getClaim',
  'renew',
  'release',
  'cancel',
  'break',
  'configureQueue',
  'getQueue',
  'listQueues',
  'deleteQueue',
  'checkToken',
  'orchestrator',
  'acceptFailover',
  'readEvents',
  'enqueue',
  'take',
  'clean',
  'renewHeld',
  'releaseHeld',
  'listDeadLetters',
  'redriveDeadLetters',
  'purgeDeadLetters',
  'listBlocked',
  'unblockQueue',
  'retryRun',
  'skipRun',
] as const satisfies readonly (keyof Coordinator)[];

const unknown = () => Promise.resolve(undefined);
const notFound = () => Promise.reject(new SignalboxError('merge_queue_not_found'));
/** No merge queue is known. */
export const noMergeQueues: MergeQueues = {
  acquire: unknown,
  release: unknown,
  renew: unknown,
  clear: unknown,
  show: unknown,
  list: () => Promise.resolve([]),
  detail: notFound,
  page: () => Promise.resolve({ merge_queues: [], next_cursor: null }),
  configure: notFound,
  remove: notFound,
};
const noPattern = () => Promise.reject(new SignalboxError('pattern_not_found'));
const noPatterns: QueuePatterns = {
  get: noPattern,
  list: () => Promise.resolve({ patterns: [], next_cursor: null }),
  set: noPattern,
  delete: noPattern,
  appliedFile: noPattern,
  recordApplied: noPattern,
};
const noWebhook = () => Promise.reject(new SignalboxError('webhook_not_found'));
const noWebhooks: Webhooks = {
  list: () => Promise.resolve([]),
  get: noWebhook,
  set: noWebhook,
  delete: noWebhook,
  test: noWebhook,
};

/**
 * A server whose coordinator writes down each call and answers as told, with `{version: 1}` otherwise. For rules of the
 * HTTP side alone; what coordination does is tested with the real one.
 */
export function recordingServer(
  options: {
    answers?: Answers;
    limits?: Partial<HttpLimits>;
    health?: Partial<Health>;
    /** Who every request is from; anybody, if not said. */
    caller?: Partial<Caller>;
    /** None is known, if not said. */
    mergeQueues?: MergeQueues;
  } = {},
): RecordingServer {
  const calls: RecordedCall[] = [];
  const lines: Record<string, unknown>[] = [];
  const observed: [string, string, number][] = [];
  const batched: [string, number, number][] = [];
  const answer = (verb: keyof Coordinator) => {
    const told = options.answers?.[verb];
    return async (...args: unknown[]) => {
      calls.push({ verb, args });
      return told === undefined ? { version: 1 } : told(...args);
    };
  };
  const app = buildHttpServer({
    coordinator: Object.fromEntries(verbs.map((verb) => [verb, answer(verb)])) as unknown as Coordinator,
    health: {
      readiness: () => Promise.resolve({ ready: true, details: {} }),
      liveness: () => ({ details: { leadership: 'follower' } }),
      ...options.health,
    },
    metrics: { contentType: 'text/plain; version=0.0.4; charset=utf-8', text: () => Promise.resolve('up 1\n') },
    mergeQueues: options.mergeQueues ?? noMergeQueues,
    patterns: noPatterns,
    webhooks: noWebhooks,
    gatekeeper: {
      identify: () => ({ tokenId: undefined, name: undefined, scope: 'admin', queuePrefix: '', ...options.caller }),
    },
    log: pino({ level: 'debug' }, { write: (line: string) => void lines.push(JSON.parse(line) as (typeof lines)[0]) }),
    clock: systemClock,
    limits: { ...defaultHttpLimits, ...options.limits },
    observe: (route, method, status) => void observed.push([route, method, status]),
    observeBatched: (op, status, count) => void batched.push([op, status, count]),
  });
  return { app, calls, lines, observed, batched, [Symbol.asyncDispose]: async () => app.close() };
}

/** The context with which a recorded call arrived. */
export function contextOf(call: RecordedCall | undefined): CallContext {
  return call?.args.at(-1) as CallContext;
}
