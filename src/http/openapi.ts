import { STATUS_CODES } from 'node:http';
import { z } from 'zod';
import * as batch from '../protocol/batch.ts';
import * as claims from '../protocol/claims.ts';
import * as deadLetters from '../protocol/dead-letters.ts';
import { type ErrorCode, errorCatalogue } from '../protocol/errors.ts';
import { MergeQueueDetail, MergeQueuePage, MergeQueueSettingsChange } from '../protocol/merge-queue.ts';
import { OrchestratorView } from '../protocol/orchestrator.ts';
import { QueueDetail, QueuePage, QueueSettingsChange, TokenCheck } from '../protocol/queues.ts';
import * as runs from '../protocol/runs.ts';
import { batchErrors } from './batch-operations.ts';
import * as mergeQueue from './merge-queue/schemas.ts';
import type { Operation } from './operation.ts';
import { ProblemDocument, problemMediaType } from './problem.ts';

// Not by @fastify/swagger: that one makes every body required, knows no recursive zod schema, and closes the answers
// (additionalProperties: false), which would forbid clients to accept our additions.
type Json = Record<string, unknown>;

/** A route as it was registered. The schemas are the ones requests are checked with. */
export interface DocumentedRoute {
  readonly method: string;
  readonly url: string;
  readonly operation: Operation;
  readonly schema: {
    readonly params?: z.ZodObject;
    readonly querystring?: z.ZodObject;
    readonly body?: z.ZodType;
    readonly response?: Readonly<Record<string, z.ZodType>>;
  };
}

const everyCall = [
  'invalid_request',
  'uri_too_long',
  'headers_too_large',
  'request_timeout',
  'internal_error',
] as const;
const everyBody = ['invalid_json', 'body_too_large', 'unsupported_media_type'] as const;

function componentOf(op: batch.BatchOp): string {
  return `${op.charAt(0).toUpperCase()}${op.slice(1)}Operation`;
}

const bodies: Record<string, z.ZodType> = {
  AcquireBody: claims.AcquireBody,
  RenewBody: claims.RenewBody,
  ReleaseBody: claims.ReleaseBody,
  BreakBody: claims.BreakBody,
  EnqueueBody: runs.EnqueueBody,
  TakeBody: runs.TakeBody,
  RenewHeldBody: runs.RenewHeldBody,
  ReleaseHeldBody: runs.ReleaseHeldBody,
  OperatorBody: runs.OperatorBody,
  DeadLettersBody: deadLetters.DeadLettersBody,
  QueueSettingsChange,
  MergeQueueSettingsChange,
  MergeAcquireBody: mergeQueue.MergeAcquireBody,
  MergeReleaseBody: mergeQueue.MergeReleaseBody,
  MergeRenewBody: mergeQueue.MergeRenewBody,
  BatchBody: batch.BatchBody,
  ...Object.fromEntries(
    Object.entries(batch.batchOperations).map(([op, schema]) => [componentOf(op as batch.BatchOp), schema]),
  ),
};
const answers = {
  HeldClaim: claims.HeldClaim,
  WaitingClaim: claims.WaitingClaim,
  EndedClaim: claims.EndedClaim,
  RenewedLease: claims.RenewedLease,
  ReleaseAnswer: claims.ReleaseAnswer,
  QueuedRun: runs.QueuedRun,
  TakeAnswer: runs.TakeAnswer,
  RenewHeldAnswer: runs.RenewHeldAnswer,
  ReleaseHeldAnswer: runs.ReleaseHeldAnswer,
  DeadLetterPage: deadLetters.DeadLetterPage,
  BlockedPage: deadLetters.BlockedPage,
  QueueDetail,
  QueuePage,
  TokenCheck,
  OrchestratorView,
  BatchAnswer: batch.BatchAnswer,
  MergeQueueDetail,
  MergeQueuePage,
  MergeAnswer: mergeQueue.MergeAnswer,
  MergeReleaseAnswer: mergeQueue.MergeReleaseAnswer,
  MergeProvider: mergeQueue.MergeProvider,
  MergeProviders: mergeQueue.MergeProviders,
  MergeError: mergeQueue.MergeError,
  ProblemDocument,
};
const names = new Map<z.ZodType, string>(
  [...Object.entries(bodies), ...Object.entries(answers)].map(([name, schema]) => [schema, name]),
);

function componentRef(name: string): string {
  return `#/components/schemas/${name}`;
}

/** What our schemas leave open because it depends on more than they see: the parts of a batch. */
const opened = new Map<z.core.$ZodType, () => Json>([
  [
    batch.BatchElement,
    () => {
      const refs = (Object.keys(batch.batchOperations) as batch.BatchOp[]).map(
        (op) => [op, componentRef(componentOf(op))] as const,
      );
      return {
        oneOf: refs.map(([, $ref]) => ({ $ref })),
        discriminator: { propertyName: 'op', mapping: Object.fromEntries(refs) },
      };
    },
  ],
  [
    batch.BatchElementAnswer,
    () => ({
      description: 'The body of the single call, or its problem document.',
      anyOf: [
        ...['HeldClaim', 'WaitingClaim', 'EndedClaim', 'RenewedLease', 'ReleaseAnswer', 'QueuedRun'].map((name) => ({
          $ref: componentRef(name),
        })),
        { $ref: componentRef('ProblemDocument'), properties: { code: { enum: batchErrors } } },
      ],
    }),
  ],
]);

const everyCallWithToken = ['unauthenticated', 'forbidden', 'not_ready', 'database_unavailable'] as const;

/** All codes a route can answer with. */
export function errorCodesOf({ operation, schema }: DocumentedRoute): ErrorCode[] {
  const draining = operation.whileDraining === true && operation.id !== 'readiness' ? [] : (['shutting_down'] as const);
  const guarded = operation.needs === 'nothing' ? [] : everyCallWithToken;
  return [...new Set([...everyCall, ...guarded, ...(schema.body ? everyBody : []), ...operation.errors, ...draining])];
}

/** JSON Schema 2020-12 of a zod schema. Nothing in our protocol is recursive. */
function jsonSchema(schema: z.ZodType, io: 'input' | 'output'): Json {
  const json: Json = z.toJSONSchema(schema, {
    io,
    override: ({ zodSchema, jsonSchema: node }) => {
      Object.assign(node, opened.get(zodSchema)?.());
      const def = zodSchema._zod.def;
      const isOpen = def.type === 'object' && (def as z.core.$ZodObjectDef).catchall === undefined;
      if (io === 'output' && isOpen) delete node.additionalProperties;
      // zod drops a default that stands before a transformation, which is how numbers are read from a query.
      if (io === 'input' && def.type === 'default') node.default = def.defaultValue;
      // What zod says about every integer.
      if (node.minimum === Number.MIN_SAFE_INTEGER) delete node.minimum;
      if (node.maximum === Number.MAX_SAFE_INTEGER) delete node.maximum;
    },
  });
  delete json['$schema'];
  return json;
}

function reference(schema: z.ZodType, io: 'input' | 'output'): Json {
  const inner = schema instanceof z.ZodOptional ? (schema.unwrap() as z.ZodType) : schema;
  const name = names.get(inner);
  if (name !== undefined) return { $ref: componentRef(name) };
  if (inner instanceof z.ZodUnion) return { oneOf: inner.options.map((option) => reference(option as z.ZodType, io)) };
  return jsonSchema(inner, io);
}

function parameters(where: 'path' | 'query', schema: z.ZodObject | undefined): Json[] {
  if (schema === undefined) return [];
  const { properties = {}, required = [] } = jsonSchema(schema, 'input') as {
    properties?: Record<string, Json>;
    required?: string[];
  };
  return Object.entries(properties).map(([name, { description, ...rest }]) => ({
    name,
    in: where,
    required: required.includes(name),
    ...(description === undefined ? {} : { description }),
    schema: rest,
  }));
}

const ifMatchParameter: Json = {
  name: 'If-Match',
  in: 'header',
  required: false,
  description: 'The ETag of a GET, or *: do nothing (412 version_mismatch) if the queue is another one by now.',
  schema: { type: 'string', pattern: String.raw`^(\*|"[0-9]{1,15}")$` },
};

function problems(codes: readonly ErrorCode[]): Record<string, Json> {
  const byStatus = Map.groupBy(codes, (code) => errorCatalogue[code].status);
  return Object.fromEntries(
    [...byStatus].map(([status, group]) => [
      String(status),
      {
        description: group.map((code) => `\`${code}\`: ${errorCatalogue[code].title}.`).join(' '),
        content: {
          [problemMediaType]: {
            schema: { $ref: '#/components/schemas/ProblemDocument', properties: { code: { enum: group } } },
          },
        },
      },
    ]),
  );
}

const successDescriptions: Readonly<Record<string, string>> = { 201: 'Put into line', 202: 'Waiting in line' };

/** The answers of its schemas: of a route that speaks another service's wire its errors too. */
function successes({ operation, schema }: DocumentedRoute): Record<string, Json> {
  if (operation.textMediaType !== undefined)
    return { 200: { description: 'OK', content: { [operation.textMediaType]: { schema: { type: 'string' } } } } };
  return Object.fromEntries(
    Object.entries(schema.response ?? {}).map(([status, answer]) => [
      status,
      {
        description: successDescriptions[status] ?? STATUS_CODES[status] ?? 'OK',
        content: {
          [answer instanceof z.ZodString ? 'text/plain' : 'application/json']: { schema: reference(answer, 'output') },
        },
      },
    ]),
  );
}

/** Whoever knows another service's wire may send the token as it sends passwords. */
function schemesOf({ speaks }: Operation): ('token' | 'basic')[] {
  return speaks === undefined ? ['token'] : ['token', 'basic'];
}

function operationObject(route: DocumentedRoute): Json {
  const { operation, schema } = route;
  const { id, summary, tag, needs, bodyIsOptional = false, ifMatch = false } = operation;
  return {
    operationId: id,
    summary,
    tags: [tag],
    // For a scheme that is not OAuth the list holds what the token must have.
    security: needs === 'nothing' ? [] : schemesOf(operation).map((scheme) => ({ [scheme]: [needs.scope] })),
    parameters: [
      ...parameters('path', schema.params),
      ...parameters('query', schema.querystring),
      ...(ifMatch ? [ifMatchParameter] : []),
    ],
    ...(schema.body && {
      requestBody: {
        required: !bodyIsOptional,
        content: { 'application/json': { schema: reference(schema.body, 'input') } },
      },
    }),
    responses: { ...successes(route), ...(operation.speaks === undefined && problems(errorCodesOf(route))) },
  };
}

/** The OpenAPI 3.1 document of these routes, from the very schemas that check their requests. */
export function openApiDocument(routes: readonly DocumentedRoute[], version: string): Json {
  const paths: Record<string, Json> = {};
  for (const route of routes) {
    const path = route.url.replace(/:([a-z_]+)/g, '{$1}');
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: operationObject(route) };
  }
  const component =
    (io: 'input' | 'output') =>
    ([name, schema]: [string, z.ZodType]) =>
      [name, jsonSchema(schema, io)] as const;
  return {
    openapi: '3.1.1',
    info: {
      title: 'Signalbox',
      version,
      description: 'Many processes, any machine, share limited things safely, through Postgres.',
    },
    paths,
    components: {
      securitySchemes: {
        token: {
          type: 'http',
          scheme: 'bearer',
          bearerFormat: 'sbx_<token_id>_<secret>',
          description:
            'Made by `signalbox token create`. Scopes: read, use, admin, each with those before it. Not needed as long as no token was ever made.',
        },
        basic: { type: 'http', scheme: 'basic', description: 'The same token as the password; any user name.' },
      },
      schemas: {
        ...Object.fromEntries(Object.entries(bodies).map(component('input'))),
        ...Object.fromEntries(Object.entries(answers).map(component('output'))),
      },
    },
  };
}
