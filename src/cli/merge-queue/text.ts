import { type MergeQueueDetail, type MergeRequestDetail, holdTtlFactor } from '../../protocol/merge-queue.ts';
import { inWords } from '../duration.ts';
import { oneLine } from '../printable.ts';
import { table } from '../status/table.ts';

/** As the commands take it. */
export function mergeQueueName({ owner, repo, base_ref: baseRef }: MergeQueueDetail): string {
  return `${owner}/${repo}/${baseRef}`;
}

const heads = ['MERGE QUEUE', 'MODE', 'HOLDER', 'HELD', 'PENDING', 'OLDEST WAIT', 'WINDOW LEFT'];

/** One line for each merge queue. */
export function mergeQueuesTable(queues: readonly MergeQueueDetail[]): string {
  if (queues.length === 0) return 'no merge queues';
  return table(
    heads,
    queues.map((queue) => {
      const { holder, pending } = buildsOf(queue);
      return [
        mergeQueueName(queue),
        queue.mode,
        holder === undefined ? '-' : oneLine(holder.head_sha, 12),
        queue.held_ms === null ? '-' : inWords(queue.held_ms),
        `${pending.length}`,
        pending.length === 0 ? '-' : inWords(Math.max(...pending.map(({ waited_ms: waitedMs }) => waitedMs))),
        queue.window_remaining_ms === null ? '-' : inWords(queue.window_remaining_ms),
      ];
    }),
  );
}

/** One merge queue with its builds: who has the lease until when, and why each of the others waits, in their order. */
export function mergeQueueBlock(queue: MergeQueueDetail): string {
  const { holder, pending } = buildsOf(queue);
  const rows = [
    ...(holder === undefined ? [] : [holderRow(holder, queue.held_ms ?? 0)]),
    ...pending.map((build) => [
      `position ${build.position ?? '-'}`,
      ...aboutBuild(build),
      reasonOf(build, queue),
      `waits ${inWords(build.waited_ms)}, heard at ${build.last_seen_at}`,
    ]),
  ];
  const lines = table([], rows).replace(/^(?=.)/gm, '  ');
  return [mergeQueueName(queue), lines].filter((text) => text !== '').join('\n');
}

/** The same, with the settings. */
export function mergeQueueText(queue: MergeQueueDetail): string {
  const holdTtl =
    queue.hold_ttl_ms === null
      ? `${inWords(queue.ttl_ms * holdTtlFactor)} (${holdTtlFactor} times the ttl)`
      : inWords(queue.hold_ttl_ms);
  const rows = [
    ['mode', queue.mode],
    ['window', inWords(queue.stabilisation_ms)],
    ['ttl', inWords(queue.ttl_ms)],
    ['expected', `${queue.expected_count}`],
    ['delay', `${queue.delay_count}`],
    ['hold ttl', holdTtl],
    ['success completes', queue.success_completes],
    ['require token', `${queue.require_token}`],
    ['refused acquire updates', `${queue.refused_acquire_updates}`],
    ['version', `${queue.version}${queue.auto_created ? ', made on first use' : ''}`],
  ];
  const settings = table([], rows).replace(/^(?=.)/gm, '  ');
  const [name = '', ...builds] = mergeQueueBlock(queue).split('\n');
  return [name, settings, ...(builds.length === 0 ? ['  no builds'] : builds)].join('\n');
}

function buildsOf({ requests }: MergeQueueDetail): {
  readonly holder: MergeRequestDetail | undefined;
  readonly pending: readonly MergeRequestDetail[];
} {
  return {
    holder: requests.find(({ status }) => status !== 'pending'),
    pending: requests.filter(({ status }) => status === 'pending'),
  };
}

function aboutBuild({ head_sha: sha, head_ref: ref, priority }: MergeRequestDetail): readonly string[] {
  return [oneLine(sha, 12), oneLine(ref), `priority ${priority}`];
}

function holderRow(holder: MergeRequestDetail, heldMs: number): readonly string[] {
  const { status, fencing_token: token, acquired_at: from, expires_at: to } = holder;
  const held = `held ${inWords(heldMs)}, token ${token ?? '-'}`;
  if (status !== 'acquired' || from === null || to === null) return ['ended', ...aboutBuild(holder), status, held];
  const leftMs = Date.parse(to) - Date.parse(from) - heldMs;
  return ['holder', ...aboutBuild(holder), leftMs > 0 ? `${inWords(leftMs)} left` : 'overdue', held];
}

function reasonOf(build: MergeRequestDetail, { window_remaining_ms: windowMs }: MergeQueueDetail): string {
  const reason = build.waiting_for ?? '-';
  if (reason === 'stabilisation' && windowMs !== null) return `${reason}, ${inWords(windowMs)} left`;
  if (reason === 'next_call') return 'may have it when it asks';
  return reason === 'delay' ? `${reason}, ${build.delays_left} left` : reason;
}
