import { isUtf8 } from 'node:buffer';
import type { FastifyInstance } from 'fastify';
import { SignalboxError } from '../protocol/errors.ts';

/** Deeper than anything a person writes, and far from where a recursive check would run out of stack. */
const depthMax = 32;

/** How many fields the text names, and how deep it nests, without parsing it: colons and brackets outside of strings. */
function outline(text: string): { fields: number; depth: number } {
  let fields = 0;
  let depth = 0;
  let deepest = 0;
  let inString = false;
  for (let i = 0; i < text.length; i++) {
    const character = text.charCodeAt(i);
    if (inString) {
      if (character === 0x5c) i++;
      else if (character === 0x22) inString = false;
    } else if (character === 0x22) inString = true;
    else if (character === 0x3a) fields++;
    else if (character === 0x7b || character === 0x5b) deepest = Math.max(deepest, ++depth);
    else if (character === 0x7d || character === 0x5d) depth--;
  }
  return { fields, depth: deepest };
}

function countFields(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  let fields = Array.isArray(value) ? 0 : Object.keys(value).length;
  for (const inner of Object.values(value)) fields += countFields(inner);
  return fields;
}

/** A byte order mark is let pass by the parser, and belongs to no value. */
function withoutMark(text: string): string {
  return text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
}

function invalidJson(detail: string): SignalboxError {
  return new SignalboxError('invalid_json', { detail });
}

/**
 * Makes `app` read JSON bodies and nothing else (415 for the rest). Refused with 400 `invalid_json`: bytes that are not
 * UTF-8, bad JSON, `__proto__` and `constructor.prototype`, nesting deeper than 32 (a batch: 34), and an object that names a field
 * twice, since which of two fencing tokens counts must not depend on the parser. An empty body counts as none; a body
 * for a route that takes none is 400 `invalid_request`.
 */
export function readJsonBodies(app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser('error', 'error');
  app.removeAllContentTypeParsers();
  app.addContentTypeParser<Buffer>('application/json', { parseAs: 'buffer' }, (request, bytes, done) => {
    if (bytes.length === 0) {
      done(null, undefined);
      return;
    }
    if (request.routeOptions.schema?.body === undefined)
      throw new SignalboxError('invalid_request', { detail: 'This call takes no body.' });
    if (!isUtf8(bytes)) throw invalidJson('The body is not UTF-8.');
    const text = withoutMark(bytes.toString('utf8'));
    const { fields, depth } = outline(text);
    const depthAllowed = depthMax + (request.routeOptions.config.operation?.nestsDeeper ?? 0);
    if (depth > depthAllowed) throw invalidJson(`The body nests deeper than ${depthAllowed}.`);
    void parse(request, text, (error, value: unknown) => {
      if (request.routeOptions.config.operation?.keepsBodyText === true) request.bodyText = text;
      const isAmbiguous = error === null && countFields(value) !== fields;
      done(isAmbiguous ? invalidJson('An object of the body names the same field twice.') : error, value);
    });
  });
}
