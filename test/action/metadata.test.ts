import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readAction } from '../support/actions-runner/workflow.ts';

const root = join(import.meta.dirname, '../..');
const action = readAction(join(root, 'action.yml'));
const readme = readFileSync(join(root, 'README.md'), 'utf8').split('### The GitHub Action\n')[1] ?? '';
const sources = readdirSync(join(root, 'src/action')).map((name) =>
  readFileSync(join(root, 'src/action', name), 'utf8'),
);

/** The first column of the table with this heading, as long as it lasts. */
function rowsOf(text: string, heading: string): string[] {
  const lines = text.split('\n');
  const from = lines.findIndex((line) => line.startsWith(`| ${heading} `)) + 2;
  const to = lines.findIndex((line, at) => at >= from && !line.startsWith('|'));
  return lines.slice(from, to).map((line) => /`([^`]+)`/.exec(line)?.[1] ?? line);
}

describe('action.yml', () => {
  it('names programs that are there and that the runner can start', () => {
    const { using, main, post, 'post-if': postIf } = action.runs;
    expect({ using, postIf }).toEqual({ using: 'node24', postIf: 'always()' });
    expect([main, post].filter((path) => !existsSync(join(root, path)))).toEqual([]);
  });

  it('declares exactly the inputs that are read and the outputs that are set', () => {
    const read = sources.flatMap((text) =>
      [...text.matchAll(/(?:input\(env|oneOf|scaled|positiveInteger)\(?(?:, )?'([a-z_]+)'/g)].map(([, name]) => name),
    );
    const set = sources.flatMap((text) => [...text.matchAll(/setOutput\('([a-z_]+)'/g)].map(([, name]) => name));
    expect([...new Set(read)].sort()).toEqual(Object.keys(action.inputs).sort());
    expect([...new Set(set)].sort()).toEqual(Object.keys(action.outputs).sort());
  });

  it('runs without any package', () => {
    const imported = sources.flatMap((text) => [...text.matchAll(/from '([^']+)'/g)].map(([, name = '']) => name));
    expect(imported.filter((name) => !name.startsWith('node:') && !/^\.\.?\/.*\.ts$/.test(name))).toEqual([]);
  });
});

describe('the README', () => {
  it('names every input with its default, and every output', () => {
    expect(rowsOf(readme, 'input').sort()).toEqual(Object.keys(action.inputs).sort());
    expect(rowsOf(readme, 'output').sort()).toEqual(Object.keys(action.outputs).sort());
    const rows = readme.split('\n').filter((line) => line.startsWith('| `'));
    for (const [name, input] of Object.entries(action.inputs)) {
      const { default: value = '' } = input ?? {};
      if (value !== '') expect(rows.find((row) => row.startsWith(`| \`${name}\``))).toContain(`\`${value}\``);
    }
  });
});
