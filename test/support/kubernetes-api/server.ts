import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fits, isObject, type StoredRun } from './objects.ts';
import { Refused, RunStore } from './run-store.ts';
import { serveWatch } from './watch.ts';

/** One request, as a fault may look at it. */
export interface ApiCall {
  readonly verb: 'list' | 'watch' | 'get' | 'patch' | 'event' | 'other';
  /** Of the run, or '' for all. */
  readonly name: string;
  readonly namespace: string;
  readonly query: URLSearchParams;
  readonly body: unknown;
  readonly atMs: number;
  /** The uid of the client process or gate, if it named one in its user agent or token. */
  readonly token: string;
}

/** What goes wrong with a request. */
export type Fault =
  /** Not done, and says so. */
  | { readonly status: number; readonly message?: string }
  /** Done; then the connection breaks instead of an answer. */
  | 'lost answer'
  /** Done, and never answered. */
  | 'silence'
  /** Not done, and the connection breaks. */
  | 'lost request'
  /** The connection breaks at once; it is done only so much later. */
  | { readonly doneAfterMs: number };

export interface StoredEvent {
  readonly name: string;
  readonly run: string;
  readonly reason: string;
  readonly type: string;
  readonly message: string;
}

/** A stand-in for a Kubernetes API server over real HTTP: PipelineRuns with versions, pages, labels and watches; events. */
export class KubernetesApi implements AsyncDisposable {
  readonly runs = new RunStore();
  readonly events: StoredEvent[] = [];
  readonly calls: ApiCall[] = [];
  /** Says what goes wrong with a call; undefined: nothing. */
  fault: (call: ApiCall) => Fault | undefined = () => undefined;
  readonly #server: Server;
  readonly #pages = new Map<string, readonly StoredRun[]>();
  readonly #watches = new Set<ServerResponse>();
  #continuations = 0;

  private constructor(server: Server) {
    this.#server = server;
    server.on('request', (request, response) => void this.#serve(request, response));
  }

  static async start(): Promise<KubernetesApi> {
    const server = createServer({ keepAliveTimeout: 1000 });
    const api = new KubernetesApi(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return api;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  count(verb: ApiCall['verb']): number {
    return this.calls.filter((call) => call.verb === verb).length;
  }

  reasonsOf(run: string): readonly string[] {
    return this.events.filter((event) => event.run === run).map(({ reason }) => reason);
  }

  /** Breaks every watch that is open. */
  dropWatches(): void {
    for (const response of this.#watches) response.destroy();
  }

  /** What was begun to be listed has to be listed anew. */
  expireContinuations(): void {
    this.#pages.clear();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const call = await callOf(request);
    this.calls.push(call);
    const fault = this.fault(call);
    if (fault === undefined) {
      this.#answer(call, request, response);
      return;
    }
    if (fault === 'lost request') {
      response.destroy();
    } else if (fault === 'lost answer' || fault === 'silence') {
      this.#attempt(call, request);
      if (fault === 'lost answer') response.destroy();
    } else if ('doneAfterMs' in fault) {
      response.destroy();
      setTimeout(() => this.#attempt(call, request), fault.doneAfterMs);
    } else {
      refuse(response, fault.status, fault.message ?? 'injected');
    }
  }

  #attempt(call: ApiCall, request: IncomingMessage): void {
    try {
      this.#do(call, request);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
    }
  }

  #answer(call: ApiCall, request: IncomingMessage, response: ServerResponse): void {
    if (call.verb === 'watch') {
      this.#watches.add(response);
      response.on('close', () => this.#watches.delete(response));
      serveWatch(this.runs, call, response);
      return;
    }
    try {
      send(response, call.verb === 'event' ? 201 : 200, this.#do(call, request));
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      refuse(response, error.status, error.message);
    }
  }

  #do({ verb, namespace, name, query, body }: ApiCall, request: IncomingMessage): unknown {
    switch (verb) {
      case 'list':
        return this.#page(namespace, query);
      case 'get':
        return this.runs.get(name, namespace);
      case 'patch':
        if (request.headers['content-type'] !== 'application/merge-patch+json')
          throw new Refused(415, `unsupported media type ${request.headers['content-type'] ?? ''}`);
        return this.runs.patch(namespace, name, body);
      case 'event':
        return this.#event(body);
      case 'watch':
      case 'other':
        throw new Refused(404, 'the server could not find the requested resource');
      default:
        return verb satisfies never;
    }
  }

  #page(namespace: string, query: URLSearchParams): unknown {
    const token = query.get('continue');
    const known = token === null ? undefined : this.#pages.get(token);
    if (token !== null && known === undefined) throw new Refused(410, 'the provided continue parameter is too old');
    const all =
      known ??
      this.runs
        .list()
        .filter(({ metadata }) => namespace === '' || metadata.namespace === namespace)
        .filter(({ metadata }) => fits(metadata.labels, query.get('labelSelector')));
    const version = token?.split(':')[1] ?? `${this.runs.version}`;
    const limit = Number(query.get('limit') ?? Infinity);
    const rest = all.slice(limit);
    const next = `${++this.#continuations}:${version}`;
    if (rest.length > 0) this.#pages.set(next, rest);
    return {
      apiVersion: 'tekton.dev/v1',
      kind: 'PipelineRunList',
      metadata: { resourceVersion: version, ...(rest.length > 0 ? { continue: next } : {}) },
      items: all.slice(0, limit),
    };
  }

  #event(body: unknown): unknown {
    const { metadata, involvedObject, reason, type, message } = body as {
      metadata: { name: string };
      involvedObject: { name: string };
      reason: string;
      type: string;
      message: string;
    };
    if (this.events.some(({ name }) => name === metadata.name))
      throw new Refused(409, `events "${metadata.name}" already exists`);
    this.events.push({ name: metadata.name, run: involvedObject.name, reason, type, message });
    return body;
  }
}

async function callOf(request: IncomingMessage): Promise<ApiCall> {
  const atMs = performance.now();
  let text = '';
  request.setEncoding('utf8');
  for await (const chunk of request) text += String(chunk);
  const url = new URL(request.url ?? '/', 'http://api');
  const [, namespace = '', name = ''] =
    /^\/apis\/tekton\.dev\/v1\/(?:namespaces\/([^/]+)\/)?pipelineruns(?:\/([^/]+))?$/.exec(url.pathname) ?? [];
  const [, eventNamespace] = /^\/api\/v1\/namespaces\/([^/]+)\/events$/.exec(url.pathname) ?? [];
  const isRuns = url.pathname.startsWith('/apis/tekton.dev/v1/');
  const body: unknown = text === '' ? undefined : JSON.parse(text);
  const verbs = { GET: name === '' ? 'list' : 'get', PATCH: 'patch' } as const;
  let verb: ApiCall['verb'] = 'other';
  if (eventNamespace !== undefined && request.method === 'POST') verb = 'event';
  else if (isRuns && url.searchParams.get('watch') === 'true') verb = 'watch';
  else if (isRuns && (request.method === 'GET' || request.method === 'PATCH')) verb = verbs[request.method];
  const involved = isObject(body) && isObject(body['involvedObject']) ? String(body['involvedObject']['name']) : name;
  const token = request.headers.authorization?.replace('Bearer ', '') ?? '';
  return {
    verb,
    name: verb === 'event' ? involved : name,
    namespace: eventNamespace ?? namespace,
    query: url.searchParams,
    body,
    atMs,
    token,
  };
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

function refuse(response: ServerResponse, code: number, message: string): void {
  send(response, code, { kind: 'Status', apiVersion: 'v1', status: 'Failure', message, code });
}
