import type { OrchestratorView } from '../../protocol/orchestrator.ts';
import type { QueueDetail } from '../../protocol/queues.ts';
import { inWords } from '../duration.ts';
import { mergeQueueBlock, mergeQueuesTable } from '../merge-queue/text.ts';
import type { Status } from '../status.ts';
import { table } from './table.ts';

/** The status for a person. Names come from others: control characters are refused by the service already. */
export function statusText({ orchestrator, queues, merge_queues: mergeQueues, missing }: Status, url: string): string {
  const blocks = [
    ...(orchestrator === null
      ? [`${url}  (leader and replicas: not with this token)`]
      : leadershipBlocks(orchestrator, url)),
    queues.length === 0
      ? mergeQueues.length === 0
        ? 'no queues'
        : ''
      : table(['QUEUE', 'LIMIT', 'HELD', 'WAITING', 'DELAYED', 'DEAD', 'OLDEST WAIT', 'STATE'], queues.map(queueRow)),
    ...queues.filter(({ held, waiting }) => held + waiting > 0).map(queueBlock),
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

function queueRow(queue: QueueDetail): readonly string[] {
  const state = [
    ...(queue.paused ? ['paused'] : []),
    ...(queue.closed ? ['closed'] : []),
    ...(queue.blocked ? ['blocked'] : []),
    ...(queue.draining > 0 ? [`draining ${queue.draining}`] : []),
  ].join(', ');
  return [
    queue.queue,
    queue.concurrency_limit === null ? 'none' : `${queue.concurrency_limit}`,
    `${queue.held}`,
    `${queue.waiting}`,
    `${queue.delayed}`,
    `${queue.dead_letters}`,
    queue.oldest_wait_ms === null ? '-' : inWords(queue.oldest_wait_ms),
    state === '' ? 'open' : state,
  ];
}

/** Who holds, and the heads of the line with reasons: claims with their holders, then runs, which nobody holds yet. */
function queueBlock({ queue, holders, line, run_line: runs, held, waiting }: QueueDetail): string {
  const holderRows = holders.map((lease) => [
    `slot ${lease.slot}`,
    lease.claim_id,
    lease.holder,
    lease.expired ? 'expired' : `${inWords(lease.ttl_remaining_ms)} left`,
    `token ${lease.fencing_token}${lease.release_requested ? ', asked to stop' : ''}`,
  ]);
  const lineRows = line.map((claim) => [
    `position ${claim.position}`,
    claim.claim_id,
    claim.holder,
    claim.waiting_for,
    `priority ${claim.priority}, since ${claim.enqueued_at}`,
    claim.why,
  ]);
  const runRows = runs.map((run) => [
    `position ${run.position}`,
    run.claim_id,
    run.attempts === 0 ? 'run' : `run, attempts ${run.attempts}`,
    run.waiting_for,
    `priority ${run.priority}, since ${run.enqueued_at}`,
  ]);
  const shown = line.length + runs.length;
  const more = [
    ...(held > holders.length ? [`  and ${held - holders.length} more holders`] : []),
    ...(waiting > shown ? [`  and ${waiting - shown} more in line`] : []),
  ];
  return [queue, indented(table([], [...holderRows, ...lineRows, ...runRows])), ...more]
    .filter((text) => text !== '')
    .join('\n');
}

function indented(text: string): string {
  return text.replace(/^(?=.)/gm, '  ');
}
