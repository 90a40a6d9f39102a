import { randomUUID } from 'node:crypto';
import { JsonText } from '../protocol/json-text.ts';

/** JSON.stringify, with the source text of each JsonText in its place. */
export function stringifyWithTexts(answer: unknown): string {
  const texts: string[] = [];
  // Nobody who wrote a part of the answer can know it, so it stands nowhere else.
  const marker = randomUUID();
  const json = JSON.stringify(answer, (_name, value: unknown) => {
    if (!(value instanceof JsonText)) return value;
    texts.push(value.text);
    return marker;
  });
  let next = 0;
  return json.replaceAll(`"${marker}"`, () => texts[next++] ?? '');
}

/** For routes whose answers hold payloads. */
export const payloadSerializer = () => stringifyWithTexts;
