import type { z } from 'zod';

const kinds: Readonly<Record<string, string>> = {
  string: 'a string',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  object: 'an object',
  record: 'an object',
  array: 'a list',
};
const units: Readonly<Record<string, string>> = { string: ' characters', array: ' entries' };

/**
 * What is wrong with a value, for the person who wrote it; given to a parse as `error`. A schema that has words of its own
 * keeps them, and what is not known here is told in zod's.
 */
export const issueText: z.core.$ZodErrorMap = (issue) => {
  if (issue.code === 'invalid_type') {
    if (issue.input === undefined) return 'is missing';
    return Object.hasOwn(kinds, issue.expected) ? `must be ${kinds[issue.expected]}` : undefined;
  }
  if (issue.code === 'too_small')
    return bound(issue.origin, issue.inclusive === false ? 'more than' : 'at least', issue.minimum);
  if (issue.code === 'too_big')
    return bound(issue.origin, issue.inclusive === false ? 'less than' : 'at most', issue.maximum);
  if (issue.code === 'invalid_value') {
    const values = issue.values.map((value) => JSON.stringify(value)).join(', ');
    return issue.values.length === 1 ? `must be ${values}` : `must be one of ${values}`;
  }
  return undefined;
};

function bound(origin: string, relation: string, limit: number | bigint): string {
  const unit = units[origin];
  return unit === undefined ? `must be ${relation} ${limit}` : `must have ${relation} ${limit}${unit}`;
}
