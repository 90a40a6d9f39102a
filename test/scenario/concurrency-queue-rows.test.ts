import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { expect, test } from 'vitest';
import { type Room, rows } from './concurrency-queue-rows.ts';

const root = join(import.meta.dirname, '..');
const named = /^((?:[PLM]\d{1,2}, )*[PLM]\d{1,2}): \S/;

/** The names of the tests of a source, tables included: the texts in a table of `each` that a `%s` puts into a name. */
function namesIn(source: string): string[] {
  const names: string[] = [];
  const textsIn = (node: ts.Node): string[] => [
    ...(ts.isStringLiteralLike(node) ? [node.text] : []),
    ...node.getChildren().flatMap(textsIn),
  ];
  const look = (node: ts.Node): void => {
    if (ts.isCallExpression(node)) {
      const table = ts.isCallExpression(node.expression) ? node.expression.arguments : [];
      const callee = node.expression.getText();
      const [title] = node.arguments;
      if (/^(it|test|describe)\b/.test(callee) && !/^\w+(\.\w+)*\.(skip|todo)/.test(callee) && title !== undefined)
        names.push(...(ts.isStringLiteralLike(title) ? [title.text] : []), ...table.flatMap(textsIn));
    }
    ts.forEachChild(node, look);
  };
  look(ts.createSourceFile('a.ts', source, ts.ScriptTarget.Latest, true));
  return names;
}

/** Which rows have a test, and in which rooms. */
function shown(): Map<string, Set<Room>> {
  const found = new Map<string, Set<Room>>();
  for (const file of globSync('**/*.test.ts', { cwd: root, exclude: ['bench/**'] })) {
    const room = file.startsWith('tekton/') ? 'gate' : 'queue';
    const source = readFileSync(join(root, file), 'utf8');
    // Most have none; taking them apart is the slow part.
    if (!/[PLM]\d{1,2}: /.test(source)) continue;
    for (const name of namesIn(source))
      for (const row of named.exec(name)?.[1]?.split(', ') ?? []) {
        const rooms = found.get(row) ?? new Set();
        found.set(row, rooms.add(room));
      }
  }
  return found;
}

const numbers = (letter: string, from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, n) => letter + String(from + n).padStart(letter === 'P' ? 2 : 1, '0'));

test('the table has every row of the list, and each defect applies', () => {
  const scenarios = [
    [1, 33],
    [40, 63],
    [70, 78],
    [80, 87],
  ].flatMap(([from = 0, to = 0]) => numbers('P', from, to));
  const defects = [...numbers('L', 1, 10), ...numbers('M', 1, 18)];
  expect(Object.keys(rows).sort()).toEqual([...scenarios, ...defects].sort());
  expect(defects.filter((id) => 'appliesNot' in (rows[id] ?? {}))).toEqual([]);
});

test('every row that applies has a test of its name in each room that the table names, and no test is named otherwise', () => {
  const found = shown();
  const wanted = Object.entries(rows).flatMap(([id, row]) =>
    'shownIn' in row ? row.shownIn.map((room) => `${id} ${room}`) : [],
  );
  const there = [...found].flatMap(([id, rooms]) => [...rooms].map((room) => `${id} ${room}`));
  expect(there.sort()).toEqual(wanted.sort());
});

test('names are found in tests and tables, and nowhere else', () => {
  const source = `
    it('P01, L2: one', () => {}); // it('P02: in a comment')
    describe.concurrent('M3: group', () => { expect('P04: a text').toBe(''); });
    it.each([['P05: a row', { status: 1 }]] as const)('%s', () => {});
    it.skip('P06: skipped', () => {}); test.todo('P07: to do');`;
  expect(namesIn(source).filter((name) => named.test(name))).toEqual(['P01, L2: one', 'M3: group', 'P05: a row']);
});
