/**
 * How mq-lease-service reads bodies, which is not how the rest of this service does: by the end of the media type, keys in
 * any case, unknown ones ignored, null as if it were not there.
 */
export type BodyKind = 'json' | 'form' | 'other';

/** What does not fit: 422 if it could not be read, 400 if it was read and is not allowed. Thrown, and sent as it is. */
export class BadBody extends Error {
  readonly status: 400 | 422;
  readonly failed: readonly FailedField[] | undefined;

  constructor(status: 400 | 422, message: string, failed?: readonly FailedField[]) {
    super(message);
    this.name = 'BadBody';
    this.status = status;
    this.failed = failed;
  }
}

/** One field that is not allowed, by the rule it breaks. */
export interface FailedField {
  readonly failed_field: string;
  readonly tag: string;
  readonly value: string;
}

/** `json`, `text/json` and `application/vnd.x+json; charset=utf-8` are all JSON. */
export function bodyKindOf(contentType: string | undefined): BodyKind {
  const mediaType = (contentType ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '';
  if (mediaType.endsWith('json')) return 'json';
  const isForm =
    mediaType.startsWith('application/x-www-form-urlencoded') || mediaType.startsWith('multipart/form-data');
  return isForm ? 'form' : 'other';
}

/** A number as it was written: 1, 1.0 and 1e0 are equal, and only the first is an integer here. */
export class NumberText {
  readonly source: string;

  constructor(source: string) {
    this.source = source;
  }
}

/** Node gives the source of a number to a reviver; TypeScript does not know of it yet. */
type Reviver = (key: string, value: unknown, context: { readonly source?: string }) => unknown;

const keepNumbers: Reviver = (_key, value, { source }) =>
  typeof value === 'number' ? new NumberText(source ?? '') : value;

function parse(text: string): unknown {
  try {
    return JSON.parse(text, keepNumbers as (key: string, value: unknown) => unknown);
  } catch {
    // What V8 says has a piece of the body in it.
    throw new BadBody(422, text === '' ? 'unexpected end of JSON input' : 'the body is not valid JSON');
  }
}

export function kindOf(value: unknown): string {
  if (Array.isArray(value)) return 'array';
  if (value instanceof NumberText) return `number ${value.source.slice(0, 40)}`;
  return typeof value === 'boolean' ? 'bool' : typeof value;
}

/**
 * The fields of a body, their names in small letters. Those of a form are not looked at: like the original, which knows
 * none, so all are missing. Throws BadBody 422.
 */
export function fieldsOf(kind: BodyKind, bytes: Buffer): ReadonlyMap<string, unknown> {
  if (kind === 'other') throw new BadBody(422, 'Unprocessable Entity');
  if (kind === 'form') return new Map();
  const value = parse(bytes.toString('utf8'));
  if (value === null) return new Map();
  if (typeof value !== 'object' || Array.isArray(value) || value instanceof NumberText)
    throw new BadBody(422, `json: cannot unmarshal ${kindOf(value)} into an object`);
  const fields = new Map<string, unknown>();
  for (const [name, inner] of Object.entries(value)) if (inner !== null) fields.set(name.toLowerCase(), inner);
  return fields;
}
