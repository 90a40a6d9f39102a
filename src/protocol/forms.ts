import { z } from 'zod';

/** What schemas ask for, in words for people. */

/** As much of a JSON schema as settings have. */
interface Form {
  readonly type?: string;
  readonly enum?: readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly maxLength?: number;
  readonly anyOf?: readonly Form[];
}

/** What a value must look like: `a whole number from 0 to 1000000, or null`. */
export function formOf(schema: z.ZodType): string {
  return inWords(z.toJSONSchema(schema, { io: 'input' }) as Form);
}

function inWords({ type = 'something else', enum: words, minimum, maximum, maxLength, anyOf }: Form): string {
  if (anyOf !== undefined) return anyOf.map(inWords).join(', or ');
  if (words !== undefined) return `one of ${words.join(', ')}`;
  if (type === 'integer') return `a whole number from ${minimum} to ${maximum}`;
  if (type === 'boolean') return 'true or false';
  if (type === 'string') return maxLength === undefined ? 'text' : `text of 1 to ${maxLength} characters`;
  return type;
}

/** Why the schema does not take a text, as a sentence; undefined: it does. */
export function faultOf(schema: z.ZodType, text: string): string | undefined {
  const { error } = schema.safeParse(text);
  if (error === undefined) return undefined;
  const fault = [...new Set(error.issues.map(({ message }) => message))].join(', ');
  return `${fault.startsWith('must ') ? 'It ' : ''}${fault}.`;
}
