import { InvalidArgumentError } from 'commander';

/** For commander: `--label k=v`, given several times. The value may have an = in it. */
export function labels(text: string, known: Readonly<Record<string, string>> = {}): Readonly<Record<string, string>> {
  const [, name = '', value = ''] = /^([^=]+)=(.*)$/s.exec(text) ?? [];
  if (name === '') throw new InvalidArgumentError('It must be name=value.');
  return { ...known, [name]: value };
}
