import { z } from 'zod';
import type { Coordinator } from '../../protocol/coordinator.ts';
import { HolderId } from '../../protocol/ids.ts';
import { ReleaseHeldAnswer, ReleaseHeldBody, RenewHeldAnswer, RenewHeldBody } from '../../protocol/runs.ts';
import { type LongPolls, openCall } from '../call-context.ts';
import { type HttpLimits, bodyBytesAtLeast } from '../limits.ts';
import { type HttpApp, databaseErrors, namedInBody } from '../operation.ts';
import { NoQuery } from '../parameters.ts';

const HolderParams = z.strictObject({ holder: HolderId });

/** What a holder of many leases says of all of them at once. */
export function holderRoutes(
  app: HttpApp,
  { coordinator, longPolls, limits }: { coordinator: Coordinator; longPolls: LongPolls; limits: HttpLimits },
): void {
  const holderUrl = '/v1/holders/:holder';
  const bodyLimit = Math.max(limits.bodyBytesMax, bodyBytesAtLeast.leases);

  app.post(
    `${holderUrl}/renew`,
    {
      bodyLimit,
      schema: {
        params: HolderParams,
        querystring: NoQuery,
        body: RenewHeldBody,
        response: { 200: RenewHeldAnswer },
      },
      config: {
        operation: {
          id: 'renewHeld',
          summary: 'Keep the leases named or, without claims, all runs the holder has taken; says which are lost.',
          tag: 'runs',
          needs: {
            scope: 'use',
            queues: namedInBody(RenewHeldBody, ({ claims = [] }) => claims.map(({ queue }) => queue)),
          },
          errors: [...databaseErrors],
        },
      },
    },
    async (request, reply) =>
      coordinator.renewHeld(
        request.params.holder,
        request.body,
        request.caller?.queuePrefix ?? '',
        openCall(request, reply, { waitMs: 0, longPolls }),
      ),
  );

  app.post(
    `${holderUrl}/release`,
    {
      bodyLimit,
      schema: {
        params: HolderParams,
        querystring: NoQuery,
        body: ReleaseHeldBody,
        response: { 200: ReleaseHeldAnswer },
      },
      config: {
        operation: {
          id: 'releaseHeld',
          summary: 'Report the outcome of many leases and give them back; one result each, in order.',
          tag: 'runs',
          needs: {
            scope: 'use',
            queues: namedInBody(ReleaseHeldBody, ({ claims }) => claims.map(({ queue }) => queue)),
          },
          errors: [...databaseErrors],
        },
      },
    },
    async (request) => {
      const { results } = await coordinator.releaseHeld(request.params.holder, request.body.claims);
      return { results: [...results] };
    },
  );
}
