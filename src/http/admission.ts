import type { FastifyReply, FastifyRequest } from 'fastify';
import { SignalboxError } from '../protocol/errors.ts';
import type { LongPolls } from './call-context.ts';

/** Path patterns of the server with the methods each one knows. */
export class RouteTable {
  readonly #routes = new Map<string, { pattern: RegExp; methods: Set<string> }>();

  add(url: string, method: string): void {
    let route = this.#routes.get(url);
    if (route === undefined) {
      const pattern = url.replace(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`).replace(/:[a-z_]+/g, '[^/]+');
      route = { pattern: new RegExp(`^${pattern}$`), methods: new Set() };
      this.#routes.set(url, route);
    }
    route.methods.add(method);
  }

  /** The methods that some route knows for this path; none: there is no such path. */
  methodsOf(path: string): string[] {
    const methods = new Set<string>();
    for (const route of this.#routes.values())
      if (route.pattern.test(path)) for (const method of route.methods) methods.add(method);
    return [...methods].sort();
  }
}

function isPercentEncoded(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}

/**
 * Whether a request may go on, decided before any of its body is read. Throws 414 `uri_too_long`, 503 `shutting_down`,
 * 405 `method_not_allowed` (with Allow), 404 `route_not_found`, 400 for a query string that is not percent-encoded well
 * (the router itself sees to the path).
 */
export function admit(
  request: FastifyRequest,
  reply: FastifyReply,
  { routes, longPolls, urlBytesMax }: { routes: RouteTable; longPolls: LongPolls; urlBytesMax: number },
): void {
  const url = request.raw.url ?? '/';
  if (url.length > urlBytesMax)
    throw new SignalboxError('uri_too_long', { detail: `The URL has more than ${urlBytesMax} characters.` });
  if (longPolls.draining) {
    reply.header('connection', 'close');
    if (request.routeOptions.config.operation?.whileDraining !== true) throw new SignalboxError('shutting_down');
  }
  const query = url.indexOf('?');
  if (request.is404) {
    const methods = routes.methodsOf(query === -1 ? url : url.slice(0, query));
    if (methods.length === 0) throw new SignalboxError('route_not_found', { detail: unknownPathText(url) });
    const allow = methods.join(', ');
    reply.header('allow', allow);
    throw new SignalboxError('method_not_allowed', { detail: `This path knows ${allow}.` });
  }
  if (query !== -1 && url.includes('%', query) && !isPercentEncoded(url.slice(query)))
    throw new SignalboxError('invalid_request', { detail: 'The query string is not correctly percent-encoded.' });
}

/** Names with slashes are what queues are called after, and what is pasted into a path as it is. */
function unknownPathText(url: string): string {
  const isOfName = /^\/v1\/(queues|queue-patterns|merge-queues|applied-files)\//.test(url);
  return isOfName ? 'There is no such route. A slash in a name is written %2F in a path.' : 'There is no such route.';
}
