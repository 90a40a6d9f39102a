import { SignalboxError } from '../protocol/errors.ts';

/** The entity tag of settings at this version. */
export function etagOf(version: number): string {
  return `"${version}"`;
}

/**
 * What If-Match asks for: a version, `any` for `*`, undefined without the header. One strong tag as `etagOf` makes it;
 * weak ones, lists and anything else are 400 `invalid_request`.
 */
export function parseIfMatch(header: string | undefined): number | 'any' | undefined {
  if (header === undefined) return undefined;
  if (header === '*') return 'any';
  const version = /^"([0-9]{1,15})"$/.exec(header)?.[1];
  if (version !== undefined) return Number(version);
  const message = 'must be one strong entity tag as a GET gives it, or *';
  throw new SignalboxError('invalid_request', {
    detail: `If-Match ${message}`,
    extra: { errors: [{ in: 'headers', path: '/if-match', message }] },
  });
}

/** For a deletion: the version it must meet, undefined = any. `*` needs nothing more: what is not there cannot be deleted. */
export function versionToDelete(header: string | undefined): number | undefined {
  const ifMatch = parseIfMatch(header);
  return ifMatch === 'any' ? undefined : ifMatch;
}

/**
 * For a call that makes what is not there: the version it must meet, undefined = any. `*` asks only that it is there, so
 * `get` looks first, and its 404 is 412 `version_mismatch`. What is deleted between that look and the call is made anew.
 */
export async function versionToChange(
  header: string | undefined,
  get: () => Promise<unknown>,
): Promise<number | undefined> {
  const ifMatch = parseIfMatch(header);
  if (ifMatch !== 'any') return ifMatch;
  try {
    await get();
  } catch (error) {
    if (error instanceof SignalboxError && error.status === 404)
      throw new SignalboxError('version_mismatch', { detail: error.message, cause: error });
    throw error;
  }
  return undefined;
}
