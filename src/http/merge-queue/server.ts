import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Gatekeeper } from '../../protocol/access.ts';
import type { SignalboxError } from '../../protocol/errors.ts';
import type { MergeQueues } from '../../protocol/merge-queue.ts';
import { identify } from '../authorization.ts';
import type { LongPolls } from '../call-context.ts';
import type { HttpApp } from '../operation.ts';
import { toSignalboxError } from '../problem.ts';
import { sendAsOriginal, sendUnknownProvider } from './errors.ts';
import { mergeQueueUrl, mergeQueueWire } from './routes.ts';

/** Told about the calls of /merge-queue, beside what is told about every request. */
export interface MergeQueueObserver {
  /** One more, or one less, is under way. */
  readonly inProgress: (method: string, change: 1 | -1) => void;
  readonly refused: (code: string) => void;
}

export interface MergeQueueServerOptions {
  readonly mergeQueues: MergeQueues;
  readonly gatekeeper: Gatekeeper;
  readonly longPolls: LongPolls;
  /** The error as one of ours; a defect is written to the log. */
  readonly settle: (thrown: unknown, request: FastifyRequest, reply: FastifyReply) => SignalboxError;
  readonly observeMergeQueues?: MergeQueueObserver;
}

/** mq-lease-service takes a slash at the end of any of its paths; nothing else here does. */
export function withoutTrailingSlash(url: string): string {
  if (!isMergeQueueUrl(url)) return url;
  const query = url.indexOf('?');
  const path = query === -1 ? url : url.slice(0, query);
  return path.endsWith('/') ? path.slice(0, -1) + url.slice(path.length) : url;
}

export function isMergeQueueUrl(url: string): boolean {
  return url.startsWith(`${mergeQueueUrl}/`);
}

/** Answers a path that cannot be decoded, which no route ever sees: so it can name no merge queue. */
export function answerUnreadableUrl(request: FastifyRequest, reply: FastifyReply, gatekeeper: Gatekeeper): void {
  try {
    identify(request, gatekeeper, { basicIsAccepted: true });
    sendUnknownProvider(reply);
  } catch (thrown) {
    sendAsOriginal(request, reply, toSignalboxError(thrown));
  }
}

/**
 * Everything under /merge-queue, unknown paths included: the original asks for credentials before it says that it does not
 * know one.
 */
export function mergeQueueServer(app: HttpApp, options: MergeQueueServerOptions): void {
  const { mergeQueues, gatekeeper, longPolls, settle, observeMergeQueues: observer } = options;

  function refusedWithoutRoute(error: SignalboxError, request: FastifyRequest, reply: FastifyReply): SignalboxError {
    if (error.code !== 'route_not_found' && error.code !== 'method_not_allowed') return error;
    try {
      identify(request, gatekeeper, { basicIsAccepted: true });
      return error;
    } catch (thrown) {
      reply.removeHeader('allow');
      return toSignalboxError(thrown);
    }
  }

  void app.register(
    (wire, _options, done) => {
      wire.setErrorHandler((thrown, request, reply) =>
        sendAsOriginal(request, reply, refusedWithoutRoute(settle(thrown, request, reply), request, reply)),
      );
      // `admit` has refused these by then; without a handler of its own the root's error handler would answer.
      wire.setNotFoundHandler(() => undefined);
      wire.addHook('onRequest', (request, reply, ended) => {
        observer?.inProgress(request.method, 1);
        reply.raw.once('close', () => observer?.inProgress(request.method, -1));
        ended();
      });
      wire.addHook('onResponse', (request, _reply, ended) => {
        if (request.problemCode !== undefined) observer?.refused(request.problemCode);
        ended();
      });
      mergeQueueWire(wire, { mergeQueues, longPolls });
      done();
    },
    { prefix: mergeQueueUrl },
  );
}
