import { type Document, LineCounter, type Node, isMap, isNode, isScalar, parseDocument, visit } from 'yaml';
import { substitute } from './substitution.ts';

/** Something wrong in a file, and where. */
export interface Problem {
  readonly line: number;
  readonly text: string;
}

/** A file of settings with its variables filled in. */
export interface YamlFile {
  /** Maps, lists, and texts: every value stays as it is written. undefined = the problems leave nothing to look at. */
  readonly tree: unknown;
  /** What is no YAML, and variables without a value. */
  readonly problems: readonly Problem[];
  /** Where the value of this path is written; what is missing: what it would be in. */
  readonly lineOf: (path: readonly PropertyKey[]) => number;
  /** A text in which a variable is left, so that nothing more need be said of it. */
  readonly isUnfilled: (value: unknown) => boolean;
}

/** Reads YAML with `${VAR}` filled in. No problem shows a value of the file, which may be a secret. */
export function readYaml(content: string, environment: Readonly<Record<string, string | undefined>>): YamlFile {
  const { text: source, problemsIn } = substitute(content, environment);
  const lines = new LineCounter();
  // failsafe: every value stays the text it is written as. merge: `<<` is known.
  const document = parseDocument(source, { schema: 'failsafe', merge: true, lineCounter: lines, prettyErrors: false });
  const lineAt = (offset: number) => Math.max(1, lines.linePos(offset).line);
  const lineOf = (path: readonly PropertyKey[]) => lineAt(offsetOf(document, path));
  const isUnfilled = (value: unknown) => typeof value === 'string' && problemsIn(value).length > 0;
  // What follows the colon of these messages is a piece of the file, and may be a secret.
  const problems: Problem[] = document.errors.map(({ message, pos }) => ({
    line: lineAt(pos[0]),
    text: `is no YAML: ${message.replace(/: ".*/s, '')}`,
  }));
  visit(document, {
    Pair: (_, { key, value }) => {
      const offset = [key, value].find(isNode)?.range?.[0] ?? 0;
      if (!isScalar(key)) problems.push({ line: lineAt(offset), text: 'a key must be one word' });
    },
  });
  if (problems.length > 0) return { tree: undefined, problems, lineOf, isUnfilled };
  visit(document, {
    Scalar: (_, { value, range }) => {
      for (const problem of problemsIn(String(value))) problems.push({ line: lineAt(range?.[0] ?? 0), text: problem });
    },
  });
  try {
    return { tree: document.toJS({ maxAliasCount: 1000 }) ?? {}, problems, lineOf, isUnfilled };
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    return { tree: undefined, problems: [{ line: 1, text }], lineOf, isUnfilled };
  }
}

export function valueAt(tree: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (value, part) =>
      typeof value === 'object' && value !== null ? (value as Record<PropertyKey, unknown>)[part] : undefined,
    tree,
  );
}

/** Where the value of this path is written, its key if it has one; what is missing or merged in: what it would be in. */
function offsetOf(document: Document, path: readonly PropertyKey[]): number {
  for (let length = path.length; length > 0; length--) {
    const parent: unknown = length === 1 ? document.contents : document.getIn(path.slice(0, length - 1), true);
    const last = path[length - 1];
    if (isMap(parent)) {
      const key: unknown = parent.items.find(({ key: name }) => isScalar(name) && name.value === last)?.key;
      if (isNode(key)) return startOf(key);
    }
    const node: unknown = document.getIn(path.slice(0, length), true);
    if (isNode(node)) return startOf(node);
  }
  return 0;
}

function startOf(node: Node): number {
  return node.range?.[0] ?? 0;
}
