import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Logger } from 'pino';
import type { Clock } from '../runtime/clock.ts';
import type { BatchSummary } from './operation.ts';
import { queueInPath } from './queue-in-path.ts';

/** Told about every finished request. `route` is the pattern, never the path, so that it stays a small set. */
export type ObserveRequest = (route: string, method: string, status: number, seconds: number) => void;

/** Told how many operations of batches had this status. `op` is `unknown` for all that are none. */
export type ObserveBatched = (op: string, status: number, count: number) => void;

/** nginx's number for a client that went before its answer; never sent, only written down. */
export const clientClosedStatus = 499;
export const unmatchedRoute = 'unmatched';

const queueLengthMax = 200;

function queueOf(request: FastifyRequest): string | undefined {
  return queueInPath(request)?.slice(0, queueLengthMax);
}

const queuesShownMax = 20;

function batchFields({ operations, failed, administered }: BatchSummary): Record<string, unknown> {
  const queues = administered.slice(0, queuesShownMax);
  return { operations, failed, ...(queues.length === 0 ? {} : { administered: queues }) };
}

/**
 * One line and one observation a request, whether it was answered or its client hung up first (status 499). 5xx is
 * level error, 4xx and calls that need scope admin info, the rest debug. A batch has the level of its worst operation, and
 * tells how many there were, how many failed, and the queues of those that need scope admin. Headers, bodies, labels, query
 * strings and claim ids are never logged.
 */
export function requestSummary({ log, clock, observe }: { log: Logger; clock: Clock; observe?: ObserveRequest }) {
  function summarise(request: FastifyRequest, reply: FastifyReply, hungUp: boolean): void {
    const status = hungUp ? clientClosedStatus : reply.raw.statusCode;
    const route = request.routeOptions.url ?? unmatchedRoute;
    const durationMs = clock.monotonicMs() - request.receivedAtMs;
    observe?.(route, request.method, status, durationMs / 1000);
    // Who changed settings or ended what others held is to be found in the log.
    const needs = request.routeOptions.config.operation?.needs;
    const batched = request.batched?.summary();
    const isAdministration =
      (typeof needs === 'object' && needs.scope === 'admin') ||
      (batched !== undefined && batched.administered.length > 0);
    const worstStatus = Math.max(status, batched?.worstStatus ?? 0);
    const isWorthALine = isAdministration || (worstStatus >= 400 && !hungUp);
    const level = worstStatus >= 500 ? 'error' : isWorthALine ? 'info' : 'debug';
    if (!log.isLevelEnabled(level)) return;
    const code = hungUp ? 'client_closed_request' : request.problemCode;
    log[level](
      {
        method: request.method,
        route,
        status,
        code,
        duration_ms: Math.round(durationMs * 1000) / 1000,
        queue: queueOf(request),
        ...(batched === undefined ? {} : batchFields(batched)),
        caller: request.caller?.name,
        token_id: request.caller?.tokenId,
      },
      'request',
    );
  }

  /** To be called once for every request, before anything is sent. 'close' comes to every answer, and only once. */
  return (request: FastifyRequest, reply: FastifyReply): void => {
    const { raw } = reply;
    raw.on('close', () => summarise(request, reply, !raw.writableEnded));
  };
}
