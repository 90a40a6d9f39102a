import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { elementTexts, memberText } from '../../src/http/member-text.ts';

const members: [title: string, object: string, text: string | undefined][] = [
  ['a number', '{"payload":1.0}', '1.0'],
  ['a number without end', `{"payload":${'9'.repeat(400)}e999}`, `${'9'.repeat(400)}e999`],
  ['minus zero', '{"payload":-0}', '-0'],
  ['null', '{"payload":null}', 'null'],
  ['true before another member', '{"payload":true,"a":1}', 'true'],
  ['false behind another member', '{"a":1,"payload":false}', 'false'],
  ['an empty string', '{"payload":""}', '""'],
  ['a string that ends in a backslash', String.raw`{"payload":"a\\","b":1}`, String.raw`"a\\"`],
  ['a string with an escaped quote', String.raw`{"payload":"a\"}","b":1}`, String.raw`"a\"}"`],
  ['a string of brackets', '{"payload":"]}[{,","b":1}', '"]}[{,"'],
  ['half a surrogate pair and NUL', String.raw`{"payload":"\ud800\u0000"}`, String.raw`"\ud800\u0000"`],
  ['text beyond ASCII', '{"ä":"ü","payload":"😀\u2028"}', '"😀\u2028"'],
  ['white space inside, none of that around', '{ "payload" :\r\n\t[ 1 ,\n2 ] \n, "b" : 1 }', '[ 1 ,\n2 ]'],
  ['white space around the object', ' \n{"payload":1\t}\r\n', '1'],
  ['a number with white space behind it', '{"payload":1 }', '1'],
  ['an empty object', '{"payload":{}}', '{}'],
  ['an object with the same name inside', '{"payload":{"payload":{"b":2}},"c":3}', '{"payload":{"b":2}}'],
  ['a name written with escapes', String.raw`{"\u0070ay\u006Coad":[1]}`, '[1]'],
  ['a name that only looks escaped', String.raw`{"\\u0070ayload":1,"payload":2}`, '2'],
  ['a name inside another member', '{"a":{"payload":1},"b":["payload"],"c":"payload","payload":2}', '2'],
  ['a longer name first', '{"payloads":1,"payload":2}', '2'],
  ['a name with a quote in it first', String.raw`{"a\"":1,"payload":2}`, '2'],
  ['an empty name first', '{"":1,"payload":2}', '2'],
  ['no such member', '{"a":{"payload":1}}', undefined],
  ['an empty object as a whole', ' { } ', undefined],
  ['a list', '["payload",1]', undefined],
  ['a string', '"payload"', undefined],
  ['null as a whole', 'null', undefined],
];

describe('the text of a member', () => {
  it.each(members)('%s', (_title, object, text) => {
    JSON.parse(object);
    expect(memberText(object, 'payload')).toBe(text);
  });
});

describe('the texts of the elements', () => {
  it.each<[list: string, texts: string[]]>([
    ['[]', []],
    [' [ \n] ', []],
    ['[1]', ['1']],
    ['[1.0 , "a,]" ,[2,[3]], {"a":[4]}\n,null]', ['1.0', '"a,]"', '[2,[3]]', '{"a":[4]}', 'null']],
    ['{"a":1}', []],
    ['1', []],
  ])('%s', (list, texts) => {
    JSON.parse(list);
    expect(elementTexts(list)).toEqual(texts);
  });

  it('are reached through members, as those of a batch are', () => {
    const body = '{"operations":[{"op":"a","payload": 1.0 },{"op":"b"},{"payload":{"x" :1}}]}';
    const operations = elementTexts(memberText(body, 'operations') ?? '');
    expect(operations.map((operation) => memberText(operation, 'payload'))).toEqual(['1.0', undefined, '{"x" :1}']);
  });
});

describe('any JSON', () => {
  const space = fc.string({ unit: fc.constantFrom(' ', '\t', '\n', '\r'), maxLength: 3 });
  /** A value as a person or a program would write it. */
  const valueText = fc
    .tuple(fc.json(), fc.constantFrom(0, 1, 2, '\t'))
    .map(([json, indent]) => JSON.stringify(JSON.parse(json), null, indent));
  /** A name, each of its characters as it is or as an escape. */
  const name = fc.string({ unit: fc.constantFrom('a', '"', '\\', '\u0000', 'ü', '😀', '{', ':', ','), maxLength: 6 });
  const nameText = (text: string, isEscaped: boolean) =>
    isEscaped
      ? `"${[...Array(text.length).keys()].map((i) => String.raw`\u${text.charCodeAt(i).toString(16).padStart(4, '0')}`).join('')}"`
      : JSON.stringify(text);
  const spaced = fc.tuple(valueText, space, space);

  it('comes back as it was written, by name', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.tuple(name, fc.boolean(), spaced), { selector: ([key]) => key, maxLength: 6 }),
        (written) => {
          const parts = written.map(
            ([key, isEscaped, [text, before, behind]]) =>
              `${before}${nameText(key, isEscaped)}${behind}:${before}${text}${behind}`,
          );
          const object = `{${parts.join(',')}}`;
          expect(Object.keys(JSON.parse(object) as object)).toHaveLength(written.length);
          for (const [key, , [text]] of written) expect(memberText(object, key)).toBe(text);
          expect(memberText(object, 'never a name')).toBeUndefined();
        },
      ),
    );
  });

  it('comes back as it was written, by place', () => {
    fc.assert(
      fc.property(fc.array(spaced, { maxLength: 6 }), (written) => {
        const list = `[${written.map(([text, before, behind]) => before + text + behind).join(',')}]`;
        expect(elementTexts(list)).toEqual(written.map(([text]) => text));
      }),
    );
  });

  it('text that is no JSON ends the search too', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom('{', '}', '[', ']', '"', '\\', ',', ':', ' ', 'a') }), (text) => {
        elementTexts(text);
        try {
          memberText(text, 'a');
        } catch (error) {
          expect(error).toBeInstanceOf(SyntaxError);
        }
      }),
    );
  });
});
