import { type QueueDetail, QueueSettings, type QueueSummary } from '../../protocol/queues.ts';
import { inWords } from '../duration.ts';
import { table } from '../status/table.ts';

const heads = ['QUEUE', 'LIMIT', 'HELD', 'WAITING', 'DELAYED', 'DEAD', 'OLDEST WAIT', 'STATE'];

/** One line for each queue. */
export function queuesTable(queues: readonly QueueSummary[]): string {
  if (queues.length === 0) return 'no queues';
  return table(heads, queues.map(queueRow));
}

/** One queue: how it stands, what it is set to and by whom, and its holders and line. */
export function queueText(queue: QueueDetail): string {
  const settings = Object.keys(QueueSettings.shape).map((name) => [
    name,
    `${queue[name as keyof typeof QueueSettings.shape]}`,
    queue.sources[name] ?? '',
  ]);
  const { version, auto_created: isAutoCreated } = queue;
  return [
    queuesTable([queue]),
    indented(table([], settings)),
    `  version ${version}${isAutoCreated ? ', made on first use' : ''}`,
    ...(hasBlock(queue) ? [queueBlock(queue)] : []),
  ].join('\n\n');
}

function queueRow(queue: QueueSummary): readonly string[] {
  const state = [
    ...(queue.paused ? ['paused'] : []),
    ...(queue.closed ? ['closed'] : []),
    ...(queue.blocked ? ['blocked'] : []),
    ...(queue.draining > 0 ? [`draining ${queue.draining}`] : []),
    ...(queue.dirty > 0 ? [`dirty ${queue.dirty}`] : []),
    ...(queue.cleaning > 0 ? [`cleaning ${queue.cleaning}`] : []),
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

/** Whether there is anybody to be shown by `queueBlock`. */
export function hasBlock({ held, cleaning, waiting }: QueueSummary): boolean {
  return held + cleaning + waiting > 0;
}

/** Claims bring a sentence of their own. */
const runReasons: Readonly<Record<string, string>> = {
  taker: 'no worker has taken it yet',
  blocked: 'behind a retried or failed run: signalbox blocked list',
};

/** Who holds or cleans, and the heads of the line with reasons: claims with their holders, then runs, which nobody holds yet. */
export function queueBlock({ queue, holders, line, run_line: runs, held, cleaning, waiting }: QueueDetail): string {
  const holderRows = holders.map((lease) => [
    `slot ${lease.slot}`,
    lease.claim_id,
    lease.holder,
    lease.expired ? 'expired' : `${inWords(lease.ttl_remaining_ms)} left`,
    `token ${lease.fencing_token}${lease.kind === 'cleaning' ? ', cleaning' : ''}${lease.release_requested ? ', asked to stop' : ''}`,
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
    runReasons[run.waiting_for] ?? '',
  ]);
  const shown = line.length + runs.length;
  const more = [
    ...(held + cleaning > holders.length ? [`  and ${held + cleaning - holders.length} more holders`] : []),
    ...(waiting > shown ? [`  and ${waiting - shown} more in line`] : []),
  ];
  return [queue, indented(table([], [...holderRows, ...lineRows, ...runRows])), ...more]
    .filter((text) => text !== '')
    .join('\n');
}

function indented(text: string): string {
  return text.replace(/^(?=.)/gm, '  ');
}
