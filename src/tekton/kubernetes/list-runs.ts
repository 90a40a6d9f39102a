import type { CustomObjectsApi, KubernetesObject } from '@kubernetes/client-node';
import { ClusterError } from '../cluster.ts';
import { called, callOptions, type Library } from './call.ts';
import { pipelineRuns } from './connect.ts';

export interface ListScope {
  /** undefined: all namespaces. */
  readonly namespace: string | undefined;
  readonly labelSelector: string | undefined;
  /** Runs of one answer. */
  readonly pageSize: number;
}

export interface ListedObjects {
  readonly metadata: { readonly resourceVersion: string };
  readonly items: KubernetesObject[];
}

interface Page {
  readonly metadata?: { readonly continue?: string; readonly resourceVersion?: string };
  readonly items?: readonly KubernetesObject[];
}

/**
 * All runs of a scope as they were at one moment, page by page. A list whose continuation has expired (410) is begun anew,
 * so that nothing is missed between two pages.
 */
export async function listRuns(
  library: Library,
  objects: CustomObjectsApi,
  { namespace, labelSelector, pageSize }: ListScope,
  signal: AbortSignal,
): Promise<ListedObjects> {
  const { plural, ...api } = pipelineRuns;
  for (let beginnings = 0; ; beginnings++) {
    const items: KubernetesObject[] = [];
    let next: string | undefined;
    try {
      for (;;) {
        const paging = {
          limit: pageSize,
          ...(labelSelector === undefined ? {} : { labelSelector }),
          ...(next === undefined ? {} : { _continue: next }),
        };
        const options = callOptions(library, signal);
        const request: Promise<unknown> =
          namespace === undefined
            ? objects.listCustomObjectForAllNamespaces({ ...api, resourcePlural: plural, ...paging }, options)
            : objects.listNamespacedCustomObject({ ...api, plural, namespace, ...paging }, options);
        const page = (await called(request, signal)) as Page;
        items.push(...(page.items ?? []));
        next = page.metadata?.continue;
        if (next === undefined || next === '')
          return { metadata: { resourceVersion: page.metadata?.resourceVersion ?? '' }, items };
      }
    } catch (error) {
      const isExpired = error instanceof ClusterError && error.status === 410 && next !== undefined;
      if (!isExpired || beginnings >= 4) throw error;
    }
  }
}
