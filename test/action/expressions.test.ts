import { describe, expect, it } from 'vitest';
import { evaluate, fillIn, isDue } from '../support/actions-runner/expressions.ts';

const contexts = { steps: { lease: { outputs: { status: 'Acquired' } } }, job: { status: 'failure' }, needs: {} };
const failed = { always: () => true, success: () => false, failure: () => true, cancelled: () => false };

describe('expressions as the test runner evaluates them', () => {
  it.each([
    ["steps.lease.outputs.status == 'acquired'", true],
    ["steps.other.outputs.status != 'acquired'", true],
    ["needs.deploy.result || 'none'", 'none'],
    ["!(job.status == 'success') && 'it''s'", "it's"],
    ["job.status == 'success' && 1 || 2", 2],
  ])('%s', (expression, value) => {
    expect(evaluate(expression, contexts)).toBe(value);
  });

  it('fill in text, with nothing for what is missing', () => {
    expect(fillIn('a ${{ job.status }}/${{ needs.x.outputs.y }}.', contexts)).toBe('a failure/.');
  });

  it('mean success() where they ask for no status', () => {
    expect(isDue(undefined, contexts, failed)).toBe(false);
    expect(isDue("steps.lease.outputs.status == 'acquired'", contexts, failed)).toBe(false);
    expect(isDue("${{ always() && job.status == 'failure' }}", contexts, failed)).toBe(true);
    expect(isDue('cancelled()', contexts, failed)).toBe(false);
  });

  it('are refused where they are more than this runner knows', () => {
    expect(() => evaluate("contains(github.ref, 'x')", contexts)).toThrow(/not understood/);
    expect(() => evaluate('hashFiles()', contexts)).toThrow(/not known/);
  });
});
