import type { Coordinator } from '../../protocol/coordinator.ts';
import { AcceptedFailover, AcceptFailoverBody, OrchestratorView } from '../../protocol/orchestrator.ts';
import { type HttpApp, databaseErrors } from '../operation.ts';
import { NoQuery } from '../parameters.ts';

/** Who leads, what the leader has done, and what an operator says of a failover. */
export function orchestratorRoutes(app: HttpApp, { coordinator }: { coordinator: Coordinator }): void {
  app.get(
    '/v1/orchestrator',
    {
      schema: { querystring: NoQuery, response: { 200: OrchestratorView } },
      config: {
        operation: {
          id: 'orchestrator',
          summary: 'Leader, epoch, terms, chores and replicas.',
          tag: 'orchestrator',
          needs: { scope: 'read', queues: 'all' },
          errors: [...databaseErrors],
        },
      },
    },
    async () => coordinator.orchestrator(),
  );

  app.post(
    '/v1/failover/accept',
    {
      schema: { querystring: NoQuery, body: AcceptFailoverBody, response: { 200: AcceptedFailover } },
      config: {
        operation: {
          id: 'acceptFailover',
          summary: 'Say that the last failover lost nothing, or that nobody holds on to what it lost: quarantines end.',
          tag: 'orchestrator',
          needs: { scope: 'admin', queues: 'all' },
          errors: [...databaseErrors],
        },
      },
    },
    async (request) => coordinator.acceptFailover(request.body),
  );
}
