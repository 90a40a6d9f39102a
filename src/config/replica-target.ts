import type { Coordinator } from '../protocol/coordinator.ts';
import type { MergeQueues } from '../protocol/merge-queue.ts';
import type { QueuePatterns } from '../protocol/patterns.ts';
import { type ApplyTarget, ifThere } from './apply-target.ts';

export interface ReplicaTargetOptions {
  readonly queues: Pick<Coordinator, 'getQueue' | 'configureQueue' | 'deleteQueue'>;
  readonly patterns: QueuePatterns;
  readonly mergeQueues: Pick<MergeQueues, 'detail' | 'configure' | 'remove'>;
  /** Who did it, in the events. */
  readonly actor: string;
}

/** The verbs of this replica as what a file is applied to. */
export function replicaTarget({ queues, patterns, mergeQueues, actor }: ReplicaTargetOptions): ApplyTarget {
  const anyVersion = { ifVersion: undefined, actor };
  return {
    getQueue: (queue) => ifThere(queues.getQueue(queue), 'queue_not_found'),
    configureQueue: (queue, change) => queues.configureQueue(queue, change, anyVersion),
    deleteQueue: (queue) => queues.deleteQueue(queue, { ...anyVersion, force: false }),
    getPattern: (pattern) => ifThere(patterns.get(pattern), 'pattern_not_found'),
    setPattern: (pattern, settings) => patterns.set(pattern, settings, anyVersion),
    deletePattern: (pattern) => patterns.delete(pattern, anyVersion),
    getMergeQueue: (id) => ifThere(mergeQueues.detail(id), 'merge_queue_not_found'),
    configureMergeQueue: (id, change) => mergeQueues.configure(id, change, anyVersion),
    deleteMergeQueue: (id) => mergeQueues.remove(id, { ...anyVersion, force: false }),
    appliedFile: (label) => patterns.appliedFile(label),
    recordApplied: (label, made, ifVersion) => patterns.recordApplied(label, made, { ifVersion, actor }),
  };
}
