import type { FastifyRequest } from 'fastify';
import { type Caller, type Gatekeeper, includesScope } from '../protocol/access.ts';
import { SignalboxError } from '../protocol/errors.ts';
import type { Needs } from './operation.ts';
import { queueInPath } from './queue-in-path.ts';

/** Names under which clients of other services put a token into the URL, where every proxy on the way writes it down. */
const tokenParameters = ['token', 'access_token'];

function refuseTokenInUrl(request: FastifyRequest): void {
  // A URL that cannot be decoded has no query.
  const query = (request.query ?? {}) as Record<string, unknown>;
  const name = tokenParameters.find((parameter) => parameter in query);
  if (name === undefined) return;
  const message = 'a token goes into the Authorization header, never into the URL';
  throw new SignalboxError('invalid_request', {
    detail: `query /${name}: ${message}`,
    extra: { errors: [{ in: 'query', path: `/${name}`, message }] },
  });
}

/** Node keeps the first of several Authorization headers and says nothing; two mean that somebody is confused. */
function authorizationOf(request: FastifyRequest): string | undefined {
  if (request.headers.authorization === undefined) return undefined;
  const { rawHeaders } = request.raw;
  let count = 0;
  for (let i = 0; i < rawHeaders.length; i += 2) if (rawHeaders[i]?.toLowerCase() === 'authorization') count++;
  if (count > 1)
    throw new SignalboxError('invalid_request', { detail: 'The request has more than one Authorization header.' });
  return request.headers.authorization;
}

/** Whoever speaks Basic can send a token too: as the password. Other headers are left as they are. */
function bearerOfBasic(authorization: string | undefined): string | undefined {
  const encoded = /^basic +(\S+) *$/i.exec(authorization ?? '')?.[1];
  if (encoded === undefined) return authorization;
  const credentials = Buffer.from(encoded, 'base64').toString('utf8');
  const colon = credentials.indexOf(':');
  return `Bearer ${colon === -1 ? '' : credentials.slice(colon + 1)}`;
}

/** Who shows these credentials. Throws as `authorise`, but for 403. */
export function identify(
  request: FastifyRequest,
  gatekeeper: Gatekeeper,
  { basicIsAccepted }: { basicIsAccepted: boolean },
): Caller {
  refuseTokenInUrl(request);
  const authorization = authorizationOf(request);
  return gatekeeper.identify(basicIsAccepted ? bearerOfBasic(authorization) : authorization);
}

function onlyFor(queuePrefix: string): SignalboxError {
  return new SignalboxError('forbidden', {
    detail: `This token is only for queues whose names begin with ${queuePrefix}`,
    extra: { queue_prefix: queuePrefix },
  });
}

/**
 * Who makes this call, if they may make it; decided before anything of the body is read, but for names in the body, which
 * `authoriseBody` looks at. Throws 401 `unauthenticated`, 403 `forbidden`, 400, and 503 while the tokens are not known. It
 * looks at names only, never at what exists.
 */
export function authorise(request: FastifyRequest, gatekeeper: Gatekeeper): Caller | undefined {
  const { operation } = request.routeOptions.config;
  const needs = operation?.needs;
  if (needs === 'nothing') return undefined;
  const caller = identify(request, gatekeeper, { basicIsAccepted: operation?.speaks !== undefined });
  // A route that does not say what it needs cannot be registered; should one be there all the same, nobody may call it.
  if (needs === undefined) throw new SignalboxError('forbidden');
  const refusal = refusalOf(caller, needs, queueInPath(request));
  if (refusal !== undefined) throw refusal;
  return caller;
}

/**
 * Why the caller may not make a call that needs this and is about this queue; undefined = they may. Of an operation of a
 * batch it is asked before anything else of the operation is looked at, as of a call before its body is read.
 */
export function refusalOf(
  { scope, queuePrefix }: Caller,
  needs: Exclude<Needs, 'nothing'>,
  queue: string | undefined,
): SignalboxError | undefined {
  if (!includesScope(scope, needs.scope))
    return new SignalboxError('forbidden', {
      detail: `This call needs a token of scope ${needs.scope}; this one has scope ${scope}.`,
      extra: { required_scope: needs.scope },
    });
  if (queuePrefix === '' || needs.queues === 'listed' || needs.queues === 'each') return undefined;
  if (needs.queues === 'all')
    return new SignalboxError('forbidden', {
      detail: `This call is about all queues; this token is only for those whose names begin with ${queuePrefix}`,
      extra: { queue_prefix: queuePrefix },
    });
  if (needs.queues !== 'named') return undefined;
  return queue?.startsWith(queuePrefix) === true ? undefined : onlyFor(queuePrefix);
}

/**
 * Whether the caller may name the queues of this valid body: 403 `forbidden` if any of them is not theirs. A prefix that
 * is wider than the token's is refused, not narrowed: a worker that believes it serves all queues must know that it does
 * not.
 */
export function authoriseBody({ caller, body, routeOptions }: FastifyRequest): void {
  const needs = routeOptions.config.operation?.needs;
  if (typeof needs !== 'object') return;
  if (typeof needs.queues === 'object') authoriseNames(caller, needs.queues.names(body));
  authoriseAlso(caller, needs, body);
}

/** Whether the caller may name all queues that a valid body names beside the one of its call. */
export function authoriseAlso(
  caller: Caller | undefined,
  { alsoNamed }: Exclude<Needs, 'nothing'>,
  body: unknown,
): void {
  if (alsoNamed !== undefined) authoriseNames(caller, alsoNamed(body as never));
}

function authoriseNames(caller: Caller | undefined, names: readonly string[]): void {
  if (caller === undefined) throw new SignalboxError('forbidden');
  if (!names.every((name) => name.startsWith(caller.queuePrefix))) throw onlyFor(caller.queuePrefix);
}

/** What a caller sees of a list of names that begin with `asked`: the narrower of both, undefined = nothing. */
export function visiblePrefix(caller: Caller | undefined, asked: string): string | undefined {
  const allowed = caller?.queuePrefix ?? '';
  if (asked.startsWith(allowed)) return asked;
  return allowed.startsWith(asked) ? allowed : undefined;
}

/** Which of the queues asked for, one by name or those that begin so, a caller sees; undefined = none of them. */
export function visibleQueues<Name extends string>(
  caller: Caller | undefined,
  { queue, prefix }: { queue: Name | undefined; prefix: string },
): { queue: Name | undefined; prefix: string } | undefined {
  const visible = visiblePrefix(caller, queue ?? prefix);
  if (visible === undefined || (queue !== undefined && visible !== queue)) return undefined;
  return { queue, prefix: visible };
}
