import type { MergeQueueKey } from './requests.ts';

/** Paths below the service's URL; names are percent-encoded. */

export function queuePath(queue: string): string {
  return `v1/queues/${encodeURIComponent(queue)}`;
}

export function claimPath(queue: string, claimId: string): string {
  return `${queuePath(queue)}/claims/${encodeURIComponent(claimId)}`;
}

export function holderPath(holder: string): string {
  return `v1/holders/${encodeURIComponent(holder)}`;
}

export function queuePatternPath(pattern: string): string {
  return `v1/queue-patterns/${encodeURIComponent(pattern)}`;
}

/** Below `v1/merge-queues`, or, with `wire`, in the interface of mq-lease-service. */
export function mergeQueuePath({ owner, repo, base_ref }: MergeQueueKey, wire = false): string {
  return [wire ? 'merge-queue' : 'v1/merge-queues', ...[owner, repo, base_ref].map(encodeURIComponent)].join('/');
}

export function webhookPath(name: string): string {
  return `v1/webhooks/${encodeURIComponent(name)}`;
}

/** The path with those parameters that have a value; of a list each is one. */
export function withQuery(
  path: string,
  parameters: Readonly<Record<string, string | number | readonly string[] | undefined>>,
): string {
  const query = new URLSearchParams();
  for (const [name, given] of Object.entries(parameters))
    for (const value of given === undefined ? [] : [given].flat()) query.append(name, `${value}`);
  return query.size === 0 ? path : `${path}?${query.toString()}`;
}
