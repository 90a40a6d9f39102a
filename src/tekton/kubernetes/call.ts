import type * as Kubernetes from '@kubernetes/client-node';
import { ClusterError, failureOfStatus } from '../cluster.ts';

/** The client library, loaded when it is needed: nothing else of this package needs it. */
export type Library = typeof Kubernetes;

export function loadLibrary(): Promise<Library> {
  return import('@kubernetes/client-node');
}

/** How long one call to the API server may take. What times out may be done nevertheless. */
const callTimeoutMs = 10_000;

type Middleware = NonNullable<Kubernetes.ConfigurationOptions['middleware']>[number];

/** Options of one call: it ends with the signal or its own time limit; a patch says which kind it is. */
export function callOptions(
  library: Library,
  signal: AbortSignal,
  contentType?: string,
): Kubernetes.ConfigurationOptions {
  const limited = AbortSignal.any([signal, AbortSignal.timeout(callTimeoutMs)]);
  const middleware: Middleware = {
    pre: (request) => {
      request.setSignal(limited);
      // The library's own choice would be a JSON patch.
      if (contentType !== undefined) request.setHeaderParam('Content-Type', contentType);
      return new library.Observable(Promise.resolve(request));
    },
    post: (response) => new library.Observable(Promise.resolve(response)),
  };
  return { middleware: [middleware], middlewareMergeStrategy: 'append' };
}

/** Awaits one call and says in one word what its failure means. Throws nothing but `ClusterError` and the signal's reason. */
export async function called<T>(call: Promise<T>, signal: AbortSignal): Promise<T> {
  try {
    return await call;
  } catch (error) {
    signal.throwIfAborted();
    const status = statusOf(error);
    if (status === undefined) throw new ClusterError('unknown', messageOf(error), { cause: error });
    throw new ClusterError(failureOfStatus(status), `${status} ${messageOf(error)}`, { status, cause: error });
  }
}

function statusOf(error: unknown): number | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'number' && error.code >= 100 && error.code < 600 ? error.code : undefined;
}

/** The API server's own words, where there are some: the library's message holds every header. */
function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const body: unknown = 'body' in error ? error.body : undefined;
  const parsed = typeof body === 'string' ? parsedStatus(body) : body;
  if (typeof parsed === 'object' && parsed !== null && 'message' in parsed && typeof parsed.message === 'string')
    return parsed.message;
  const { cause } = error;
  const reason = cause instanceof Error && cause.message !== '' ? `: ${cause.message}` : '';
  return `${error.message.split('\n')[0] ?? ''}${reason}`;
}

function parsedStatus(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
