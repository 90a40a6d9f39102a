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
import { type HttpApp, databaseErrors } from '../operation.ts';
import { ClaimParams, NoQuery, QueueParams, inDigits } from '../parameters.ts';

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
      config: {
        operation: {
          id: 'acquire',
          summary: 'Ask for a place; ask again with the same claim_id and holder to learn how the claim stands.',
          tag: 'claims',
          needs: { scope: 'use', queues: 'named' },
          errors: [
            'ttl_too_long',
            'queue_not_found',
            'queue_busy',
            'claim_id_reused',
            'claim_ended',
            'queue_full',
            ...databaseErrors,
          ],
        },
      },
    },
    async (request, reply) => {
      const call = openCall(request, reply, { waitMs: request.body.wait_ms, longPolls });
      const claim = await coordinator.acquire(request.params.queue, request.body, call);
      return claim.state === 'held' ? reply.code(200).send(claim) : reply.code(202).send(claim);
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
      config: {
        operation: {
          id: 'getClaim',
          summary: 'How a claim stands; with wait_ms the answer waits for a change.',
          tag: 'claims',
          needs: { scope: 'read', queues: 'named' },
          errors: ['queue_not_found', 'claim_not_found', ...databaseErrors],
        },
      },
    },
    async (request, reply) => {
      const { queue, claim_id: claimId } = request.params;
      const waitMs = request.query.wait_ms;
      const onlyLooks = request.caller?.scope === 'read';
      if (onlyLooks && waitMs > 0)
        throw new SignalboxError('forbidden', {
          detail: 'wait_ms needs a token of scope use: an open request keeps a claim alive. Ask again without it.',
          extra: { required_scope: 'use' },
        });
      const call = openCall(request, reply, { waitMs, longPolls });
      return coordinator.getClaim(queue, claimId, waitMs, { ...call, onlyLooks });
    },
  );

  app.post(
    `${claimUrl}/renew`,
    {
      schema: { params: ClaimParams, querystring: NoQuery, body: RenewBody, response: { 200: RenewedLease } },
      config: {
        operation: {
          id: 'renew',
          summary: 'Keep a lease for another ttl_ms.',
          tag: 'claims',
          needs: { scope: 'use', queues: 'named' },
          errors: [
            'ttl_too_long',
            'claim_not_found',
            'queue_not_found',
            'token_mismatch',
            'lease_lost',
            ...databaseErrors,
          ],
        },
      },
    },
    async (request, reply) => {
      const { queue, claim_id: claimId } = request.params;
      return coordinator.renew(queue, claimId, request.body, openCall(request, reply, noWait));
    },
  );

  app.post(
    `${claimUrl}/release`,
    {
      schema: { params: ClaimParams, querystring: NoQuery, body: ReleaseBody, response: { 200: ReleaseAnswer } },
      config: {
        operation: {
          id: 'release',
          summary: 'Give the place back; the next in line gets it in the same commit.',
          tag: 'claims',
          needs: { scope: 'use', queues: 'named' },
          errors: ['claim_not_found', 'queue_not_found', 'token_mismatch', ...databaseErrors],
        },
      },
    },
    async (request, reply) => {
      const { queue, claim_id: claimId } = request.params;
      return coordinator.release(queue, claimId, request.body, openCall(request, reply, noWait));
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
      config: {
        operation: {
          id: 'cancel',
          summary: 'Take a claim out of the line; the holder of a held one is asked to release it.',
          tag: 'claims',
          needs: { scope: 'use', queues: 'named' },
          errors: ['claim_not_found', 'queue_not_found', ...databaseErrors],
          bodyIsOptional: true,
        },
      },
    },
    async (request, reply) => {
      const { queue, claim_id: claimId } = request.params;
      return coordinator.cancel(queue, claimId, openCall(request, reply, noWait));
    },
  );

  app.post(
    `${claimUrl}/break`,
    {
      schema: { params: ClaimParams, querystring: NoQuery, body: BreakBody, response: { 200: EndedClaim } },
      config: {
        operation: {
          id: 'break',
          summary: "End a claim by an operator's decision, without its holder.",
          tag: 'claims',
          needs: { scope: 'admin', queues: 'named' },
          errors: ['claim_not_found', 'queue_not_found', ...databaseErrors],
        },
      },
    },
    async (request, reply) => {
      const { queue, claim_id: claimId } = request.params;
      return coordinator.break(queue, claimId, request.body, openCall(request, reply, noWait));
    },
  );
}
