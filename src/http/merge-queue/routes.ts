import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { Scope } from '../../protocol/access.ts';
import type { CallContext } from '../../protocol/coordinator.ts';
import {
  type MergeAnswer,
  type MergeQueueId,
  type MergeQueues,
  mergeQueueId,
  mergeQueuePrefix,
} from '../../protocol/merge-queue.ts';
import { visiblePrefix } from '../authorization.ts';
import { type LongPolls, openCall } from '../call-context.ts';
import type { DocumentedRoute } from '../openapi.ts';
import type { HttpApp, Operation } from '../operation.ts';
import { answerJson, providerJson, providersJson, releaseJson } from './answers.ts';
import { retryAfterSeconds } from '../problem.ts';
import { BadBody, type BodyKind, bodyKindOf, fieldsOf } from './body.ts';
import { sendError, sendJson, sendUnknownProvider } from './errors.ts';
import { type MergeVerb, refusalOf } from './refusals.ts';
import { readAcquire, readRelease, readRenew } from './requests.ts';
import {
  MergeAcquireBody,
  MergeAnswer as MergeAnswerSchema,
  MergeError,
  MergeProvider,
  MergeProviders,
  MergeReleaseAnswer,
  MergeReleaseBody,
  MergeRenewBody,
  ProviderParams,
} from './schemas.ts';

export const mergeQueueUrl = '/merge-queue';

export interface MergeQueueRouteOptions {
  readonly mergeQueues: MergeQueues;
  readonly longPolls: LongPolls;
}

/** A valid call, and what a refusal of it repeats. */
interface Read<Call> {
  readonly call: Call;
  readonly headSha: string;
  /** What the call wants its build to be. */
  readonly status: string;
  readonly waitMs: number;
}

type Fields = ReadonlyMap<string, unknown>;

interface Verb<Call> {
  readonly verb: MergeVerb;
  readonly read: (fields: Fields, id: MergeQueueId) => Read<Call>;
  readonly put: (id: MergeQueueId, call: Call, context: CallContext) => Promise<MergeAnswer | undefined>;
  readonly show: (answer: Extract<MergeAnswer, { kind: 'request' }>) => unknown;
}

function operation(id: string, summary: string, needs: { scope: Scope; queues: 'named' | 'listed' }): Operation {
  return { id, summary, tag: 'merge-queues', needs, errors: [], speaks: 'mq-lease-service' };
}

const everyCall = { 401: z.string(), 403: MergeError, 414: MergeError, 500: MergeError, 503: MergeError };
const named = { ...everyCall, 404: MergeError };
const posted = { ...named, 400: MergeError, 409: MergeError, 413: z.string(), 422: MergeError };

/** Not checked by fastify: the calls are read as the original reads them. */
function documented(
  operationOf: Operation,
  schema: DocumentedRoute['schema'],
): { config: { operation: Operation; documented: DocumentedRoute['schema'] } } {
  return { config: { operation: operationOf, documented: schema } };
}

/** Undefined where the path can name no merge queue. */
function idOf(request: FastifyRequest): MergeQueueId | undefined {
  const { owner = '', repo = '', base_ref: baseRef = '' } = request.params as Record<string, string | undefined>;
  return mergeQueueId(owner, repo, baseRef);
}

function sendBadBody(reply: FastifyReply, { status, message, failed }: BadBody): FastifyReply {
  const body = { error: message, ...(failed === undefined ? {} : { error_context: failed }) };
  return sendError(reply, status, body, {
    code: status === 400 ? 'invalid_request' : 'invalid_json',
    retryAfterMs: null,
  });
}

/**
 * Takes every body as bytes, whatever it calls itself: which of them can be read is decided after the merge queue was
 * looked for. The type is put aside, since fastify refuses those that are no media types, like the `json` of the
 * original's action.
 */
function takeAnyBody(app: HttpApp): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser<Buffer>('*', { parseAs: 'buffer' }, (_request, bytes, done) => done(null, bytes));
  app.addHook('onRequest', (request, _reply, done) => {
    request.bodyKind = bodyKindOf(request.headers['content-type']);
    delete request.headers['content-type'];
    done();
  });
}

/** The contract of mq-lease-service, and `renew`; to be registered under `mergeQueueUrl`. */
export function mergeQueueWire(app: HttpApp, { mergeQueues, longPolls }: MergeQueueRouteOptions): void {
  takeAnyBody(app);

  /** A body that does not fit is only of interest where there is such a merge queue. */
  async function serve<Call>(verb: Verb<Call>, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const id = idOf(request);
    if (id === undefined) return sendUnknownProvider(reply);
    let read: Read<Call>;
    try {
      const bytes = (request.body as Buffer | undefined) ?? Buffer.alloc(0);
      read = verb.read(fieldsOf(request.bodyKind, bytes), id);
    } catch (error) {
      if (!(error instanceof BadBody)) throw error;
      return (await mergeQueues.show(id)) === undefined ? sendUnknownProvider(reply) : sendBadBody(reply, error);
    }
    const { call, waitMs } = read;
    const answer = await verb.put(id, call, openCall(request, reply, { waitMs, longPolls }));
    if (answer === undefined) return sendUnknownProvider(reply);
    if (answer.kind === 'refused') {
      const { status, body } = refusalOf(verb.verb, answer, read);
      return sendError(reply, status, body, { code: answer.refusal, retryAfterMs: answer.retryAfterMs });
    }
    if (answer.pollAfterMs !== null) reply.header('retry-after', retryAfterSeconds(answer.pollAfterMs));
    return sendJson(reply, 200, verb.show(answer));
  }

  const acquire: Verb<ReturnType<typeof readAcquire>> = {
    verb: 'acquire',
    read: (fields, id) => {
      const call = readAcquire(fields, id);
      return { call, headSha: call.headSha, status: 'pending', waitMs: call.waitMs };
    },
    put: (id, call, context) => mergeQueues.acquire(id, call, context),
    show: answerJson,
  };
  const release: Verb<ReturnType<typeof readRelease>> = {
    verb: 'release',
    read: (fields, id) => {
      const call = readRelease(fields, id);
      return { call, headSha: call.headSha, status: call.outcome, waitMs: 0 };
    },
    put: (id, call, context) => mergeQueues.release(id, call, context),
    show: releaseJson,
  };
  const renew: Verb<ReturnType<typeof readRenew>> = {
    verb: 'renew',
    read: (fields) => {
      const call = readRenew(fields);
      return { call, headSha: call.headSha, status: 'acquired', waitMs: 0 };
    },
    put: (id, call, context) => mergeQueues.renew(id, call, context),
    show: answerJson,
  };

  app.get(
    '',
    documented(
      operation('listProviders', 'All merge queues, as mq-lease-service shows them.', {
        scope: 'read',
        queues: 'listed',
      }),
      { response: { 200: MergeProviders, ...everyCall } },
    ),
    async (request, reply) => {
      const prefix = visiblePrefix(request.caller, mergeQueuePrefix);
      return sendJson(reply, 200, providersJson(prefix === undefined ? [] : await mergeQueues.list(prefix)));
    },
  );

  const provider = '/:owner/:repo/:base_ref';
  app.get(
    provider,
    documented(
      operation('showProvider', 'One merge queue, as mq-lease-service shows it.', { scope: 'read', queues: 'named' }),
      { params: ProviderParams, response: { 200: MergeProvider, ...named } },
    ),
    async (request, reply) => {
      const id = idOf(request);
      const shown = id && (await mergeQueues.show(id));
      return shown === undefined ? sendUnknownProvider(reply) : sendJson(reply, 200, providerJson(shown));
    },
  );

  app.delete(
    provider,
    documented(
      operation('clearProvider', 'Forget all builds of a merge queue, its holder too.', {
        scope: 'admin',
        queues: 'named',
      }),
      { params: ProviderParams, response: { 200: MergeProvider, ...named } },
    ),
    async (request, reply) => {
      const id = idOf(request);
      const shown = id && (await mergeQueues.clear(id, request.caller?.name));
      return shown === undefined ? sendUnknownProvider(reply) : sendJson(reply, 200, providerJson(shown));
    },
  );

  app.post(
    `${provider}/acquire`,
    documented(
      operation('acquireMergeLease', 'Register a build, or ask again for the lease.', {
        scope: 'use',
        queues: 'named',
      }),
      {
        params: ProviderParams,
        body: MergeAcquireBody,
        response: { 200: MergeAnswerSchema, ...posted, 429: MergeError },
      },
    ),
    async (request, reply) => serve(acquire, request, reply),
  );

  app.post(
    `${provider}/release`,
    documented(
      operation('releaseMergeLease', 'Tell how the build with the lease ended.', { scope: 'use', queues: 'named' }),
      { params: ProviderParams, body: MergeReleaseBody, response: { 200: MergeReleaseAnswer, ...posted } },
    ),
    async (request, reply) => serve(release, request, reply),
  );

  app.post(
    `${provider}/renew`,
    documented(operation('renewMergeLease', 'The build with the lease is alive.', { scope: 'use', queues: 'named' }), {
      params: ProviderParams,
      body: MergeRenewBody,
      response: { 200: MergeAnswerSchema, ...posted, 410: MergeError },
    }),
    async (request, reply) => serve(renew, request, reply),
  );
}

declare module 'fastify' {
  interface FastifyRequest {
    /** What the body of a call of /merge-queue called itself. */
    bodyKind: BodyKind;
  }
}
