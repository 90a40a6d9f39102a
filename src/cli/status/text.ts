import type { OrchestratorView } from '../../protocol/orchestrator.ts';
import { inWords } from '../duration.ts';
import { mergeQueueBlock, mergeQueuesTable } from '../merge-queue/text.ts';
import { hasBlock, queueBlock, queuesTable } from '../queue/text.ts';
import type { Status } from '../status.ts';
import { table } from './table.ts';

/** The status for a person. Names come from others: control characters are refused by the service already. */
export function statusText({ orchestrator, queues, merge_queues: mergeQueues, missing }: Status, url: string): string {
  const blocks = [
    ...(orchestrator === null
      ? [`${url}  (leader and replicas: not with this token)`]
      : leadershipBlocks(orchestrator, url)),
    queues.length === 0 ? (mergeQueues.length === 0 ? 'no queues' : '') : queuesTable(queues),
    ...queues.filter(hasBlock).map((queue) => queueBlock(queue)),
    ...(mergeQueues.length === 0 ? [] : [mergeQueuesTable(mergeQueues)]),
    ...mergeQueues.filter(({ requests }) => requests.length > 0).map((queue) => mergeQueueBlock(queue)),
    ...missing.map((name) => `there is no queue ${name}`),
  ];
  return blocks.filter((block) => block !== '').join('\n\n');
}

function leadershipBlocks(orchestrator: OrchestratorView, url: string): readonly string[] {
  const { leader, epoch, ttl_remaining_ms: leftMs, replicas } = orchestrator;
  const led = leader === null ? 'nobody leads' : `leader ${leader}, epoch ${epoch}, ${inWords(leftMs)} left`;
  return [
    `${url}  ${led}`,
    ...failoverBlock(orchestrator.failover),
    table(
      ['REPLICA', 'VERSION', 'URL', 'STATE'],
      replicas.map((replica) => [
        replica.replica_id,
        replica.version,
        replica.url ?? '-',
        replica.alive ? 'alive' : `silent since ${replica.heard_at}`,
      ]),
    ),
  ];
}

/** Only while it keeps somebody waiting. A service of an earlier version says nothing of it. */
function failoverBlock(failover: OrchestratorView['failover'] | undefined): readonly string[] {
  if (failover == null || failover.quarantine_ms === 0) return [];
  return [
    `the database failed over at ${failover.at}: queues grant nothing new for up to ${inWords(failover.quarantine_ms)}`,
  ];
}
