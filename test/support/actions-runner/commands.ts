/** A command to the runner in a line that a step printed. */
export interface Command {
  readonly name: string;
  readonly properties: Readonly<Record<string, string>>;
  readonly data: string;
}

/** Those that the runner knows, in any case of letters; all else is text. */
const known = new Set([
  ...['add-mask', 'add-matcher', 'add-path', 'debug', 'echo', 'endgroup', 'error', 'group', 'internal-set-repo-path'],
  ...['notice', 'remove-matcher', 'save-state', 'set-env', 'set-output', 'stop-commands', 'warning'],
]);

/** White space as .NET trims it. */
const leadingSpace = /^[\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/;

/** What .NET does not see when it compares texts as a language does, which is how the runner looks for its markers. */
const unseen = /[\0-\x08\x0e-\x1f\x7f\u00ad\u200b-\u200f\u2060-\u2064\ufe00-\ufe0f\ufeff]/g;

/**
 * As the runner finds it: `::name key=value,…::data` at the beginning of the line, white space aside, or else
 * `##[name key=value;…]data` anywhere in it.
 */
export function commandOf(printed: string): Command | undefined {
  const line = printed.replace(unseen, '');
  return newForm(line.replace(leadingSpace, '')) ?? oldForm(line);
}

function newForm(line: string): Command | undefined {
  const end = line.startsWith('::') ? line.indexOf('::', 2) : -1;
  return end < 0 ? undefined : command(line.slice(2, end), ',', line.slice(end + 2), newEscapes);
}

function oldForm(line: string): Command | undefined {
  const from = line.indexOf('##[');
  const end = from < 0 ? -1 : line.indexOf(']', from);
  return end < 0 ? undefined : command(line.slice(from + 3, end), ';', line.slice(end + 1), oldEscapes);
}

type Escapes = Readonly<Record<'property' | 'data', readonly string[]>>;

/** The percent sign last, so that nothing is undone twice. */
const newEscapes: Escapes = { property: ['\r', '\n', ':', ',', '%'], data: ['\r', '\n', '%'] };
const oldEscapes: Escapes = { property: [';', '\r', '\n', ']', '%'], data: [';', '\r', '\n', ']', '%'] };

function command(info: string, separator: string, data: string, escapes: Escapes): Command | undefined {
  const [, written = '', rest = ''] = /^([^ ]*)(?: (.*))?$/s.exec(info) ?? [];
  const name = written.toLowerCase();
  if (!known.has(name)) return undefined;
  const pairs = rest.split(separator).map((pair) => /^\s*([^=]+)=(.+)$/s.exec(pair));
  const properties = Object.fromEntries(
    pairs.filter((pair) => pair !== null).map(([, key = '', value = '']) => [key, unescaped(value, escapes.property)]),
  );
  return { name, properties, data: unescaped(data, escapes.data) };
}

function unescaped(text: string, characters: readonly string[]): string {
  return characters.reduce((undone, character) => {
    const code = character.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0');
    return undone.replaceAll(`%${code}`, character);
  }, text);
}
