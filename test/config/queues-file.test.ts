import { describe, expect, it } from 'vitest';
import { parseQueuesFile, RefusedFileError } from '../../src/config/queues-file.ts';
import { everySetting } from '../support/every-setting.ts';

const read = (content: string, environment: Record<string, string> = {}) =>
  parseQueuesFile('queues.yaml', content, environment);

/** The problems, without the name of the file. */
function problemsOf(content: string, environment: Record<string, string> = {}): readonly string[] {
  try {
    read(content, environment);
  } catch (error) {
    if (!(error instanceof RefusedFileError)) throw error;
    return error.problems.map((problem) => problem.replace('queues.yaml, ', ''));
  }
  return [];
}

describe('a file of queues', () => {
  it('has queues, patterns and merge queues in the words of the HTTP interface', () => {
    const file = read(
      `label: team-a
queues:
  deploy/\${STAGE}: { concurrency_limit: 1, max_hold_ms: null, paused: false, on_failure: stop }
  empty:
patterns:
  'repo/*':
    concurrency_limit: \${LIMIT:-3}
merge_queues:
  acme/shop/release/1.10: { ttl_ms: 5000, success_completes: contained }
`,
      { STAGE: 'prod' },
    );
    expect(file.label).toBe('team-a');
    expect([...file.queues]).toEqual([
      ['deploy/prod', { concurrency_limit: 1, max_hold_ms: null, paused: false, on_failure: 'stop' }],
      ['empty', {}],
    ]);
    expect([...file.patterns]).toEqual([['repo/*', { concurrency_limit: 3 }]]);
    expect([...file.mergeQueues.values()]).toMatchObject([
      { id: { name: 'merge-queue/acme/shop/release/1.10' }, change: { ttl_ms: 5000, success_completes: 'contained' } },
    ]);
  });

  it('takes every setting that a queue has, for queues and patterns', () => {
    const file = read(JSON.stringify({ queues: { q: everySetting }, patterns: { 'q/*': everySetting } }));
    expect([file.queues.get('q' as never), file.patterns.get('q/*' as never)]).toEqual([everySetting, everySetting]);
  });

  it('may be empty', () => {
    for (const content of ['', '# nothing\n', 'queues:\n', '{}'])
      expect([...read(content).queues, ...read(content).patterns]).toEqual([]);
  });

  it('is refused as a whole, with every problem and its line', () => {
    expect(
      problemsOf(`colour: red
queues:
  'a b': { concurrency_limit: 1, colour: red }
  a:
    concurrency_limit: -1
    colour: red
    paused:
  b: [1]
  c: { default_ttl_ms: 5000, max_ttl_ms: 2000 }
  d: { concurrency_limit: \${MISSING} }
  e: { concurrency_limit: many, inherit: paused }
patterns:
  repo: { concurrency_limit: 1 }
  x*: { default_ttl_ms: null }
  y*: { max_ttl_ms: 5000 }
merge_queues:
  acme: { ttl_ms: 0 }
  acme/shop/main: { ttl_ms: 0 }
`),
    ).toEqual([
      'line 1: colour: there is no such key',
      'line 3: a b: queue must be 1 to 200 characters of A-Z a-z 0-9 . _ : / @ -, and not dots only',
      'line 3: a b: colour: there is no such setting',
      'line 5: a: concurrency_limit: must be at least 0',
      'line 6: a: colour: there is no such setting',
      'line 7: a: paused has no value; write null for none',
      'line 8: b: must be a map of settings',
      'line 9: c: default_ttl_ms 5000 is longer than max_ttl_ms 2000',
      'line 10: the variable MISSING is not set or empty; ${MISSING:-default} gives it a default',
      'line 11: e: concurrency_limit: must be a number',
      'line 11: e: inherit: there is no such setting',
      'line 13: repo: must be up to 199 characters of A-Z a-z 0-9 . _ : / @ - and one * behind them',
      'line 14: x*: default_ttl_ms: must be a number',
      'line 15: y*: default_ttl_ms 30000 is longer than max_ttl_ms 5000',
      'line 17: acme: must be owner/repo/base_ref',
      'line 17: acme: ttl_ms: must be at least 1',
      'line 18: acme/shop/main: ttl_ms: must be at least 1',
    ]);
  });

  it.each([
    ['queues: [a]', 'line 1: queues must be a map of names'],
    ['- a', 'line 1: must be a map'],
    ['queues:\n  a: {}\n  a: {}', 'line 3: is no YAML: Map keys must be unique'],
    ['queues: {', /^line 1: is no YAML/],
  ])('%j is refused', (content, problem) => {
    const [first = ''] = problemsOf(content);
    if (typeof problem === 'string') expect(first).toBe(problem);
    else expect(first).toMatch(problem);
  });
});
