import type { Coordinator } from '../../protocol/coordinator.ts';
import { OrchestratorView } from '../../protocol/orchestrator.ts';
import { type HttpApp, databaseErrors } from '../operation.ts';
import { NoQuery } from '../parameters.ts';

/** Who leads, and what the leader has done. */
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
}
