import { expect, it } from 'vitest';
import { z } from 'zod';
import { issueText } from '../../src/protocol/issue-text.ts';

const form = z.strictObject({
  text: z.string().min(1).max(3),
  whole: z.int().min(1).max(9),
  amount: z.number().gt(0).lt(9).nullable(),
  flag: z.boolean(),
  list: z.array(z.string()).max(1),
  mode: z.enum(['wait', 'skip']),
  kind: z.literal('x'),
  own: z.string({ error: 'has words of its own' }),
});

function problemsOf(value: object): Record<string, string> {
  const { error } = form.safeParse(value, { error: issueText });
  return Object.fromEntries((error?.issues ?? []).map(({ path, message }) => [path.join('.'), message]));
}

it('says what is missing', () => {
  const { kind, mode, own, ...others } = problemsOf({});
  expect([...new Set(Object.values(others))]).toEqual(['is missing']);
  expect([mode, kind, own]).toEqual(['must be one of "wait", "skip"', 'must be "x"', 'has words of its own']);
});

it('says what a value must be, not what zod calls it', () => {
  expect(
    problemsOf({ text: 1, whole: 1.5, amount: '1', flag: 'yes', list: {}, mode: 'fast', kind: 'y', own: 1 }),
  ).toEqual({
    text: 'must be a string',
    whole: 'must be a whole number',
    amount: 'must be a number',
    flag: 'must be true or false',
    list: 'must be a list',
    mode: 'must be one of "wait", "skip"',
    kind: 'must be "x"',
    own: 'has words of its own',
  });
});

it('says how much there may be, with the unit where it has one', () => {
  expect(problemsOf({ text: '', whole: 0, amount: 0, flag: true, list: [], mode: 'wait', kind: 'x', own: '' })).toEqual(
    {
      text: 'must have at least 1 characters',
      whole: 'must be at least 1',
      amount: 'must be more than 0',
    },
  );
  expect(
    problemsOf({ text: 'long', whole: 10, amount: 9, flag: true, list: ['a', 'b'], mode: 'wait', kind: 'x', own: '' }),
  ).toEqual({
    text: 'must have at most 3 characters',
    whole: 'must be at most 9',
    amount: 'must be less than 9',
    list: 'must have at most 1 entries',
  });
});
