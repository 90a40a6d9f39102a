import { InvalidArgumentError } from 'commander';
import { faultOf } from '../protocol/forms.ts';

/** For commander: the text as it is, if the schema takes it; else a usage error that says what it must look like. */
export function fitting(schema: Parameters<typeof faultOf>[0]): (text: string) => string {
  return (text) => {
    const fault = faultOf(schema, text);
    if (fault !== undefined) throw new InvalidArgumentError(fault);
    return text;
  };
}
