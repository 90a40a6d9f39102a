/**
 * The source text of parts of a JSON text: what JSON.parse loses (white space, the form of numbers, escapes, the order of
 * keys) is kept. Only for texts that were parsed before: nothing is checked here, and of a text that is not valid JSON any
 * part may come back.
 *
 * The results are JSON texts themselves, so that the functions go together: a member of each element of a member.
 */

const quote = 0x22;
const comma = 0x2c;
const openBracket = 0x5b;
const backslash = 0x5c;
const closeBracket = 0x5d;
const openBrace = 0x7b;
const closeBrace = 0x7d;

/** Space, tab, line feed and carriage return are all the white space JSON has. */
function isSpace(character: number): boolean {
  return character === 0x20 || character === 0x09 || character === 0x0a || character === 0x0d;
}

function skipSpace(text: string, at: number): number {
  while (isSpace(text.charCodeAt(at))) at++;
  return at;
}

/** The end of the string whose opening quote is at `at`. */
function stringEnd(text: string, at: number): number {
  for (let i = at + 1; i < text.length; i++) {
    const character = text.charCodeAt(i);
    if (character === backslash) i++;
    else if (character === quote) return i + 1;
  }
  return text.length;
}

/** The end of the object or list whose opening bracket is at `at`. */
function bracketsEnd(text: string, at: number): number {
  let depth = 0;
  for (let i = at; i < text.length; i++) {
    const character = text.charCodeAt(i);
    if (character === quote) i = stringEnd(text, i) - 1;
    else if (character === openBrace || character === openBracket) depth++;
    else if ((character === closeBrace || character === closeBracket) && --depth === 0) return i + 1;
  }
  return text.length;
}

/** The end of the value that begins at `at`. */
function valueEnd(text: string, at: number): number {
  const first = text.charCodeAt(at);
  if (first === quote) return stringEnd(text, at);
  if (first === openBrace || first === openBracket) return bracketsEnd(text, at);
  let end = at;
  for (; end < text.length; end++) {
    const character = text.charCodeAt(end);
    if (character === comma || character === closeBrace || character === closeBracket || isSpace(character)) break;
  }
  return end;
}

/** The text of the value an object has under `name`; undefined if it has none, or is no object. */
export function memberText(object: string, name: string): string | undefined {
  const start = skipSpace(object, 0);
  if (object.charCodeAt(start) !== openBrace) return undefined;
  let at = skipSpace(object, start + 1);
  while (object.charCodeAt(at) === quote) {
    const nameEnd = stringEnd(object, at);
    // Over the colon before the value, and the comma or brace behind it.
    const valueStart = skipSpace(object, skipSpace(object, nameEnd) + 1);
    const end = valueEnd(object, valueStart);
    // A name may be written with escapes.
    if (JSON.parse(object.slice(at, nameEnd)) === name) return object.slice(valueStart, end);
    at = skipSpace(object, skipSpace(object, end) + 1);
  }
  return undefined;
}

/** The texts of the elements of a list, in order; none if it is no list. */
export function elementTexts(list: string): string[] {
  const start = skipSpace(list, 0);
  if (list.charCodeAt(start) !== openBracket) return [];
  const texts: string[] = [];
  let at = skipSpace(list, start + 1);
  while (at < list.length && list.charCodeAt(at) !== closeBracket) {
    const end = valueEnd(list, at);
    texts.push(list.slice(at, end));
    const behind = skipSpace(list, end);
    if (list.charCodeAt(behind) !== comma) break;
    at = skipSpace(list, behind + 1);
  }
  return texts;
}
