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

/** The path with those parameters that have a value. */
export function withQuery(path: string, parameters: Readonly<Record<string, string | number | undefined>>): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) if (value !== undefined) query.set(name, `${value}`);
  return query.size === 0 ? path : `${path}?${query.toString()}`;
}
