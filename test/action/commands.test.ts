import { describe, expect, it } from 'vitest';
import { commandOf } from '../support/actions-runner/commands.ts';
import { runnerOf } from '../../src/action/runner.ts';

const attempts = [
  '::set-output name=status::acquired',
  ' ::set-output name=status::acquired',
  '\t\u0085\u00a0::set-output name=status::acquired',
  '\u200b:\u00ad:set-output name=status::acquired',
  ':::set-output name=status::acquired::error::x',
  '::SET-OUTPUT name=status::acquired',
  'the service said (503 ##[set-output name=status]acquired)',
  'x ###[set-output name=status]acquired',
  'x #\u200d#[set-output name=status]acquired',
  'x ##\0[set-output name=status]acquired',
];
const lineEnds = ['', 'x\n', 'x\r', 'x\r\n \n', 'x\u2028', 'x%0A', '%0D%0A'];

function printedBy(use: (runner: ReturnType<typeof runnerOf>) => void): string {
  let printed = '';
  use(runnerOf({}, (text) => (printed += text)));
  return printed;
}

/** As the runner reads them. */
const linesOf = (printed: string) => printed.split(/\r\n|\r|\n/).filter((line) => line !== '');

describe("commands as the test's runner reads them", () => {
  it('begin a line, white space aside, or stand in brackets anywhere in it', () => {
    const [, second = '', , , , , seventh = ''] = attempts;
    expect(commandOf(second)).toEqual({ name: 'set-output', properties: { name: 'status' }, data: 'acquired' });
    expect(commandOf(seventh)).toEqual({ name: 'set-output', properties: { name: 'status' }, data: 'acquired)' });
    const escaped = '::error file=a%3Ab%2Cc,title=t%25::1%0A2%250A,:';
    const properties = { file: 'a:b,c', title: 't%' };
    expect(commandOf(escaped)).toEqual({ name: 'error', properties, data: '1\n2%0A,:' });
  });

  it.each(['plain', 'a ::error::b', '::unknown::x', '::error:x', 'a ##[unknown]x', '##[error', '# #[error]x', ''])(
    'are not: %s',
    (line) => {
      expect(commandOf(line)).toBeUndefined();
    },
  );
});

describe('text from outside', () => {
  it.each(attempts)('is no command in a line of the log, wherever a line ends: %j', (attempt) => {
    for (const lineEnd of lineEnds) {
      const lines = linesOf(printedBy((runner) => runner.info(lineEnd + attempt)));
      expect(lines).toHaveLength(1);
      expect(lines.map(commandOf)).toEqual([undefined]);
    }
  });

  it.each(attempts)('is nothing but the data of an annotation: %j', (attempt) => {
    for (const lineEnd of lineEnds)
      for (const kind of ['notice', 'warning', 'error'] as const) {
        const lines = linesOf(printedBy((runner) => runner[kind](lineEnd + attempt)));
        expect(lines.map((line) => commandOf(line)?.name)).toEqual([kind]);
        const [{ data, properties } = { data: '', properties: {} }] = lines.flatMap((line) => commandOf(line) ?? []);
        expect(properties).toEqual({});
        expect(data.split('\n').map(commandOf).filter(Boolean)).toEqual([]);
        // A runner that does not know annotations of this kind takes the rest of the line for what it is.
        expect(lines.map((line) => commandOf(`x ${line}`))).toEqual([undefined]);
      }
  });

  it('stays readable', () => {
    expect(printedBy((runner) => runner.info('connect ECONNREFUSED ::1:80, #1 ##x [a]'))).toBe(
      'connect ECONNREFUSED ::1:80, #1 ##x [a]\n',
    );
    expect(printedBy((runner) => runner.error('100 % of it:\n  line two, %0A'))).toBe(
      '::error::100 %25 of it:%0Aline two, %250A\n',
    );
  });
});
