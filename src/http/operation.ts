import type {
  FastifyBaseLogger,
  FastifyInstance,
  RawReplyDefaultExpression,
  RawRequestDefaultExpression,
  RawServerDefault,
} from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import type { z } from 'zod';
import type { Caller, Scope } from '../protocol/access.ts';
import type { ErrorCode } from '../protocol/errors.ts';
import type { DocumentedRoute } from './openapi.ts';

/** Which queues, or prefixes of their names, a valid body is about. Made by `namedInBody`. */
export interface NamesInBody {
  readonly schema: z.ZodType;
  readonly names: (body: unknown) => readonly string[];
}

/**
 * For `needs.queues`: the queues are named in a body of this schema, and this finds all of them. There is no way to say
 * that queues are in the body without saying where, and every call is checked with it before its handler runs.
 */
export function namedInBody<Body extends z.ZodType>(
  schema: Body,
  names: (body: z.output<Body>) => readonly string[],
): NamesInBody {
  // A route can only be registered with the schema its names are read from.
  return { schema, names: (body) => names(body as z.output<Body>) };
}

/**
 * What a caller must show. `queues`: `named` = the queue in the path must begin with the token's prefix; `listed` = the
 * answer shows only such queues; `all` = it is about all of them, so the token must have no prefix; `namedInBody(…)` =
 * every name in the body must begin with the token's prefix; `each` = the body holds calls, and each of them is refused by
 * itself, by its own needs.
 */
export type Needs =
  | 'nothing'
  | {
      readonly scope: Scope;
      readonly queues: 'named' | 'listed' | 'all' | 'each' | NamesInBody;
      /** Queues that a valid body of a call with `named` may name beside the one in the path. */
      readonly alsoNamed?: (body: never) => readonly string[];
    };

/** What is to be known about a route beyond its schemas. A route without one cannot be registered. */
export interface Operation {
  /** One of our verbs; the operationId. */
  readonly id: string;
  readonly summary: string;
  readonly tag: 'claims' | 'runs' | 'batch' | 'queues' | 'merge-queues' | 'orchestrator' | 'service';
  readonly needs: Needs;
  /** Codes this call may answer with, apart from those of every call and of every call with a body. */
  readonly errors: readonly ErrorCode[];
  /** The body may be left out. */
  readonly bodyIsOptional?: boolean;
  /** The handler needs the source text of the body, in `request.bodyText`. */
  readonly keepsBodyText?: boolean;
  /** How much deeper its body may nest than others, since it holds whole bodies of others. */
  readonly nestsDeeper?: number;
  /** The call honours If-Match. */
  readonly ifMatch?: boolean;
  /** Answers with text of this type in place of JSON. */
  readonly textMediaType?: string;
  /**
   * The wire of another service: Basic credentials are accepted, errors are written in its words, and its bodies are read
   * as it reads them, so `errors` is empty and the schemas of `config.documented` serve the document alone.
   */
  readonly speaks?: 'mq-lease-service';
  /** Is answered also while the server drains. */
  readonly whileDraining?: boolean;
}

/** What became of the operations of one batch. */
export interface BatchSummary {
  readonly operations: number;
  readonly failed: number;
  /** The highest status of a single operation. */
  readonly worstStatus: number;
  /** The queues of those that need scope admin and were not refused for want of it. */
  readonly administered: readonly string[];
}

/** What any call that reaches the database may meet. */
export const databaseErrors = [
  'database_unavailable',
  'database_timeout',
  'overloaded',
  'not_ready',
] as const satisfies readonly ErrorCode[];

/** Our fastify: requests and answers are typed by zod. */
export type HttpApp = FastifyInstance<
  RawServerDefault,
  RawRequestDefaultExpression,
  RawReplyDefaultExpression,
  FastifyBaseLogger,
  ZodTypeProvider
>;

declare module 'fastify' {
  interface FastifyContextConfig {
    operation?: Operation;
    /** The schemas of a route that checks its requests itself. */
    documented?: DocumentedRoute['schema'];
  }
  interface FastifyRequest {
    /** When the headers had arrived, on the replica's monotonic clock. */
    receivedAtMs: number;
    /** The code of the problem document that answers, for the log. */
    problemCode: string | undefined;
    /** The JSON text `body` was made from, for operations that keep it. */
    bodyText: string | undefined;
    /** What became of the operations of a batch, for the log; undefined for calls that are none. */
    batched: { summary(): BatchSummary } | undefined;
    /** Who calls; undefined for calls that need no token, and until that is decided. */
    caller: Caller | undefined;
  }
}
