import { z } from 'zod';
import {
  AcquireBody,
  BreakBody,
  CancelBody,
  EndedClaim,
  HeldClaim,
  ReleaseAnswer,
  ReleaseBody,
  RenewBody,
  RenewedLease,
  WaitMs,
  WaitingClaim,
} from '../../protocol/claims.ts';
import type { Coordinator } from '../../protocol/coordinator.ts';
import { SignalboxError } from '../../protocol/errors.ts';
import { type LongPolls, openCall } from '../call-context.ts';
import type { HttpApp } from '../operation.ts';
import { ClaimParams, NoQuery, QueueParams, inDigits } from '../parameters.ts';
import { acquire, breakClaim, cancel, get, release, renew } from '../verbs.ts';

const ClaimQuery = z.strictObject({ wait_ms: inDigits(WaitMs).default(0) });

/** The life of a claim: ask, look, renew, release, cancel, break. */
export function claimRoutes(
  app: HttpApp,
  { coordinator, longPolls }: { coordinator: Coordinator; longPolls: LongPolls },
): void {
  const claimUrl = '/v1/queues/:queue/claims/:claim_id';
  const noWait = { waitMs: 0, longPolls };

  app.post(
    '/v1/queues/:queue/acquire',
    {
      schema: {
        params: QueueParams,
        querystring: NoQuery,
        body: AcquireBody,
        response: { 200: HeldClaim, 202: WaitingClaim },
      },
      config: { operation: acquire.operation },
    },
    async (request, reply) => {
      const call = openCall(request, reply, { waitMs: request.body.wait_ms, longPolls });
      const { status, body } = await acquire.run(coordinator, request.params, request.body, call);
      return reply.code(status).send(body);
    },
  );

  app.get(
    claimUrl,
    {
      schema: {
        params: ClaimParams,
        querystring: ClaimQuery,
        response: { 200: z.union([HeldClaim, WaitingClaim, EndedClaim]) },
      },
      config: { operation: get.operation },
    },
    async (request, reply) => {
      const { wait_ms: waitMs } = request.query;
      const onlyLooks = request.caller?.scope === 'read';
      if (onlyLooks && waitMs > 0)
        throw new SignalboxError('forbidden', {
          detail: 'wait_ms needs a token of scope use: an open request keeps a claim alive. Ask again without it.',
          extra: { required_scope: 'use' },
        });
      const call = openCall(request, reply, { waitMs, longPolls, onlyLooks });
      return (await get.run(coordinator, request.params, request.query, call)).body;
    },
  );

  app.post(
    `${claimUrl}/renew`,
    {
      schema: { params: ClaimParams, querystring: NoQuery, body: RenewBody, response: { 200: RenewedLease } },
      config: { operation: renew.operation },
    },
    async (request, reply) => {
      const call = openCall(request, reply, noWait);
      return (await renew.run(coordinator, request.params, request.body, call)).body;
    },
  );

  app.post(
    `${claimUrl}/release`,
    {
      schema: { params: ClaimParams, querystring: NoQuery, body: ReleaseBody, response: { 200: ReleaseAnswer } },
      config: { operation: release.operation },
    },
    async (request, reply) => {
      const call = openCall(request, reply, noWait);
      return (await release.run(coordinator, request.params, request.body, call)).body;
    },
  );

  app.post(
    `${claimUrl}/cancel`,
    {
      schema: {
        params: ClaimParams,
        querystring: NoQuery,
        body: CancelBody.optional(),
        response: { 200: z.union([HeldClaim, EndedClaim]) },
      },
      config: { operation: cancel.operation },
    },
    async (request, reply) => {
      const call = openCall(request, reply, noWait);
      return (await cancel.run(coordinator, request.params, undefined, call)).body;
    },
  );

  app.post(
    `${claimUrl}/break`,
    {
      schema: { params: ClaimParams, querystring: NoQuery, body: BreakBody, response: { 200: EndedClaim } },
      config: { operation: breakClaim.operation },
    },
    async (request, reply) => {
      const call = openCall(request, reply, noWait);
      return (await breakClaim.run(coordinator, request.params, request.body, call)).body;
    },
  );
}
