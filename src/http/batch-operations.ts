import type { z } from 'zod';
import type { Caller } from '../protocol/access.ts';
import { type BatchOp, batchOperations } from '../protocol/batch.ts';
import type { CallContext, Coordinator } from '../protocol/coordinator.ts';
import { type ErrorCode, SignalboxError } from '../protocol/errors.ts';
import { issueText } from '../protocol/issue-text.ts';
import { authoriseAlso, refusalOf } from './authorization.ts';
import type { Needs } from './operation.ts';
import { payloadOf } from './payload.ts';
import { invalidRequest } from './request-validation.ts';
import { acquire, breakClaim, cancel, enqueue, get, release, renew } from './verbs.ts';

/** What a single call answers. */
export interface OperationAnswer {
  readonly status: number;
  readonly body: unknown;
}

/** `textOf` gives the JSON text of the element. */
type Run<Element> = (
  coordinator: Coordinator,
  element: Element,
  call: CallContext,
  textOf: () => string,
) => Promise<OperationAnswer>;

export interface Batchable {
  readonly op: BatchOp;
  readonly needs: Exclude<Needs, 'nothing'>;
  readonly schema: z.ZodType<{ readonly queue: string }>;
  /** Takes what `schema` gives. It has handed the operation on to be decided when it returns; it waits for nothing before. */
  readonly run: Run<never>;
}

function batchable<Op extends BatchOp>(
  op: Op,
  { operation: { needs } }: { readonly operation: { readonly needs: Needs } },
  run: Run<z.output<(typeof batchOperations)[Op]>>,
): readonly [BatchOp, Batchable] {
  if (needs === 'nothing') throw new Error(`${op} needs nothing`);
  return [op, { op, needs, schema: batchOperations[op], run }];
}

/** By op: the needs and the doing of the single call, and the schema of its fields in a batch. */
const table: ReadonlyMap<unknown, Batchable> = new Map([
  batchable('acquire', acquire, (to, o, call) => acquire.run(to, o, { ...o, wait_ms: 0 }, call)),
  batchable('get', get, (to, o, call) => get.run(to, o, {}, call)),
  batchable('renew', renew, (to, o, call) => renew.run(to, o, o, call)),
  batchable('release', release, (to, o, call) => release.run(to, o, o, call)),
  batchable('cancel', cancel, (to, o, call) => cancel.run(to, o, undefined, call)),
  batchable('break', breakClaim, (to, o, call) => breakClaim.run(to, o, o, call)),
  batchable('enqueue', enqueue, (to, o, call, textOf) => {
    // Only who sends a payload pays for finding its text.
    const payload = o.payload === undefined ? undefined : payloadOf(textOf());
    return enqueue.run(to, o, { ...o, payload }, call);
  }),
]);

/** All codes an operation can be answered with. */
export const batchErrors: readonly ErrorCode[] = [
  ...new Set<ErrorCode>([
    'invalid_request',
    'forbidden',
    ...[acquire, get, renew, release, cancel, breakClaim, enqueue].flatMap(({ operation }) => operation.errors),
    'internal_error',
  ]),
];

const knownOps = [...table.keys()].join(', ');

function fault(path: string, message: string): SignalboxError {
  return new SignalboxError('invalid_request', {
    detail: path === '' ? `the operation ${message}` : `body ${path}: ${message}`,
    extra: { errors: [{ in: 'body', path, message }] },
  });
}

/** How an element of a batch is done. Throws 400 `invalid_request` for one that is no operation. */
export function batchableOf(element: unknown): Batchable {
  if (typeof element !== 'object' || element === null || Array.isArray(element))
    throw fault('', 'must be an object with op, queue and what the call takes');
  const known = table.get((element as { op?: unknown }).op);
  if (known === undefined) throw fault('/op', `must be one of ${knownOps}`);
  return known;
}

/**
 * The element as its schema gives it. Throws what the single call would be refused with, in the same order: 403 `forbidden`
 * before anything of it is looked at but its op and queue, then 400 `invalid_request`.
 */
export function checked(element: unknown, { needs, schema }: Batchable, caller: Caller): { readonly queue: string } {
  const { queue } = element as { queue?: unknown };
  const refusal = refusalOf(caller, needs, typeof queue === 'string' ? queue : undefined);
  if (refusal !== undefined) throw refusal;
  const result = schema.safeParse(element, { error: issueText });
  if (!result.success) throw invalidRequest('body', result.error);
  authoriseAlso(caller, needs, result.data);
  return result.data;
}
