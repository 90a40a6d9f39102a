import type { SignalboxClient } from '../../client/index.ts';
import { type ApplyTarget, ifThere } from '../../config/apply-target.ts';
import { SignalboxError } from '../../protocol/errors.ts';
import type { MergeQueueId } from '../../protocol/merge-queue.ts';

export interface ServiceTargetOptions {
  /** The memory of what a file made is needed: without it there is nothing to go by. */
  readonly mustRemember: boolean;
  /** Told once that a token for some queues only cannot remember what the file makes. */
  readonly onNoMemory: () => void;
}

/** A service over HTTP as what a file is applied to. */
export function serviceTarget(
  client: SignalboxClient,
  { mustRemember, onNoMemory }: ServiceTargetOptions,
): ApplyTarget {
  const keyOf = ({ owner, repo, baseRef }: MergeQueueId) => ({ owner, repo, base_ref: baseRef });
  let remembers = true;
  return {
    getQueue: (queue) => ifThere(client.getQueue(queue), 'queue_not_found'),
    configureQueue: (queue, change) => client.configureQueue(queue, change),
    deleteQueue: (queue) => client.deleteQueue(queue),
    getPattern: (pattern) => ifThere(client.getQueuePattern(pattern), 'pattern_not_found'),
    setPattern: (pattern, settings) => client.configureQueuePattern(pattern, settings),
    deletePattern: (pattern) => client.deleteQueuePattern(pattern),
    getMergeQueue: (id) => ifThere(client.getMergeQueue(keyOf(id)), 'merge_queue_not_found'),
    configureMergeQueue: (id, change) => client.configureMergeQueue(keyOf(id), change),
    deleteMergeQueue: (id) => client.deleteMergeQueue(keyOf(id)),
    appliedFile: async (label) => {
      try {
        return await client.getAppliedFile(label);
      } catch (error) {
        // A token of a prefix: it may change its queues, but not what is about all of them.
        const isOfSomeQueues =
          error instanceof SignalboxError && error.code === 'forbidden' && 'queue_prefix' in error.extra;
        if (!isOfSomeQueues || mustRemember) throw error;
        if (remembers) onNoMemory();
        remembers = false;
        return { label, made: { queues: {}, patterns: [], merge_queues: [] }, version: 0 };
      }
    },
    recordApplied: async (label, made, ifVersion) =>
      remembers ? client.recordAppliedFile(label, made, { ifVersion }) : { label, made, version: 0 },
  };
}
