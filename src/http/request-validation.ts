import type { FastifySchemaCompiler } from 'fastify';
import type { z } from 'zod';
import { SignalboxError } from '../protocol/errors.ts';
import { issueText } from '../protocol/issue-text.ts';
import type { RequestFault } from './problem.ts';

/** A body of 64 KiB can hold thousands of mistakes; a person mends these first. */
const faultsMax = 20;
/** In `detail`; `errors` has the others too. */
const faultsToldMax = 3;
/** Enough for the longest field name we know and our longest message; the rest is the caller's own text. */
const textLengthMax = 200;

const parts: Readonly<Record<string, string>> = { body: 'body', querystring: 'query', params: 'path' };

function shortened(text: string): string {
  return text.length > textLengthMax ? `${text.slice(0, textLengthMax)}…` : text;
}

function pointer(path: readonly PropertyKey[]): string {
  return shortened(
    path.map((step) => `/${String(step).slice(0, textLengthMax).replaceAll('~', '~0').replaceAll('/', '~1')}`).join(''),
  );
}

function faultsOf(issue: z.core.$ZodIssue, part: string): RequestFault[] {
  if (issue.code === 'unrecognized_keys')
    return issue.keys
      .slice(0, faultsMax)
      .map((key) => ({ in: part, path: pointer([...issue.path, key]), message: 'unknown field' }));
  return [{ in: part, path: pointer(issue.path), message: shortened(issue.message) }];
}

/** 400 `invalid_request` with everything zod found in one part of the request, at most 20 faults, values not echoed. */
export function invalidRequest(part: string, error: z.core.$ZodError): SignalboxError {
  const errors = error.issues
    .slice(0, faultsMax)
    .flatMap((issue) => faultsOf(issue, part))
    .slice(0, faultsMax);
  const told = errors.slice(0, faultsToldMax).map(({ path, message }) => {
    const where = path === '' ? `the ${part}` : `${part} ${path}`;
    return `${where}: ${message}`;
  });
  const more = errors.length > told.length ? [`and ${errors.length - told.length} more`] : [];
  return new SignalboxError('invalid_request', {
    detail: told.length === 0 ? `the ${part} does not fit` : [...told, ...more].join('; '),
    extra: { errors },
  });
}

/** Checks one part of a request with its zod schema. Unlike the type provider's own compiler it keeps the whole path. */
export const validatorCompiler: FastifySchemaCompiler<z.ZodType> = ({ schema, httpPart }) => {
  const part = parts[httpPart ?? ''] ?? 'headers';
  return (data: unknown) => {
    // fastify hands an absent body over as null.
    const result = schema.safeParse(part === 'body' && data === null ? undefined : data, { error: issueText });
    return result.success ? { value: result.data } : { error: invalidRequest(part, result.error) };
  };
};
