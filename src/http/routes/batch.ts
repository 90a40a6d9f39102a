import type { Logger } from 'pino';
import { BatchAnswer, BatchBody } from '../../protocol/batch.ts';
import type { Coordinator } from '../../protocol/coordinator.ts';
import { SignalboxError } from '../../protocol/errors.ts';
import { Batch } from '../batch.ts';
import { type HttpLimits, bodyBytesAtLeast } from '../limits.ts';
import type { HttpApp } from '../operation.ts';
import { NoQuery } from '../parameters.ts';
import type { ObserveBatched } from '../request-log.ts';

/** No operation of a batch waits for anything that its client's going away could end. */
const neverAborted = new AbortController().signal;

/** Many calls in one. */
export function batchRoutes(
  app: HttpApp,
  {
    coordinator,
    limits,
    log,
    observeBatched,
  }: {
    readonly coordinator: Coordinator;
    readonly limits: HttpLimits;
    readonly log: Logger;
    readonly observeBatched?: ObserveBatched;
  },
): void {
  app.post(
    '/v1/batch',
    {
      bodyLimit: Math.max(limits.bodyBytesMax, bodyBytesAtLeast.batch),
      schema: { querystring: NoQuery, body: BatchBody, response: { 200: BatchAnswer } },
      config: {
        operation: {
          id: 'batch',
          summary: 'Up to 1000 calls in one, each done and answered by itself; one result each, in order.',
          tag: 'batch',
          // The least that any operation needs. Each is then refused, or not, by the needs of its single call.
          needs: { scope: 'read', queues: 'each' },
          // What goes wrong with an operation is in its result.
          errors: [],
          keepsBodyText: true,
          // {"operations":[…]} around what is the whole body of a single call.
          nestsDeeper: 2,
        },
      },
    },
    async (request) => {
      const { caller, receivedAtMs, bodyText = '' } = request;
      if (caller === undefined) throw new SignalboxError('forbidden');
      const call = { receivedAtMs, signal: neverAborted, onlyLooks: caller.scope === 'read' };
      const batch = new Batch({ coordinator, log, caller, call, bodyText });
      // Before anything is waited for: a client that hangs up does not keep what it did out of the log.
      request.batched = batch.tally;
      const results = await batch.answers(request.body.operations);
      if (observeBatched !== undefined) batch.tally.report(observeBatched);
      return { results };
    },
  );
}
