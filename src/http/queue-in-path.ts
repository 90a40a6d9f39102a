import type { FastifyRequest } from 'fastify';
import { mergeQueueId } from '../protocol/merge-queue.ts';

/**
 * The name of the queue, pattern of names, or merge queue a request is about by its path; undefined if it is about none, or about something
 * that can name none.
 */
export function queueInPath({ params }: FastifyRequest): string | undefined {
  const { queue, pattern, owner, repo, base_ref: baseRef } = (params ?? {}) as Record<string, string | undefined>;
  if (queue !== undefined) return queue;
  // All names it is about begin as it does, up to the `*`, which no prefix of a token has.
  if (pattern !== undefined) return pattern;
  return owner === undefined ? undefined : mergeQueueId(owner, repo ?? '', baseRef ?? '')?.name;
}
