/** A text with its variables filled in, and what is wrong with those that could not be. */
export interface Substituted {
  readonly text: string;
  /**
   * What is wrong in a piece of `text`: one line for each variable in it that has no value. Asked per piece, since what
   * stands in a comment is of no consequence.
   */
  readonly problemsIn: (piece: string) => readonly string[];
}

/** Stands for what has no value. A private character: no name and no number has it. */
const mark = '\u{E000}';

/**
 * Fills `${VAR}` from the environment, as a shell would: `${VAR:-default}` also where the value is empty, `${VAR-default}`
 * only where there is none (and, for drop-in's sake, `:=` and `=` alike). An empty value without a default counts as none.
 */
export function substitute(text: string, environment: Readonly<Record<string, string | undefined>>): Substituted {
  const problems: string[] = [];
  const marked = (problem: string) => `${mark}${problems.push(problem) - 1}${mark}`;
  const filled = text.replace(/\$\{([^{}\n]*)\}/g, (_, inside: string) => {
    const [, name, operator, fallback = ''] = /^([A-Za-z_]\w*)(?:(:?[-=])(.*))?$/.exec(inside) ?? [];
    if (name === undefined)
      return marked(`\${${inside}} cannot be filled in: only \${VAR} and \${VAR:-default} are known`);
    const value = environment[name];
    if (value !== undefined && (value !== '' || operator === '-' || operator === '=')) return value;
    if (operator !== undefined) return fallback;
    return marked(`the variable ${name} is not set or empty; \${${name}:-default} gives it a default`);
  });
  return {
    text: filled,
    problemsIn: (piece) =>
      [...piece.matchAll(new RegExp(`${mark}(\\d+)${mark}`, 'g'))].flatMap((match) => problems[Number(match[1])] ?? []),
  };
}
