/** What an expression can name: github, env, vars, secrets, steps, needs, job, inputs. */
export type Contexts = Readonly<Record<string, unknown>>;

/** success(), failure(), cancelled(), always(): how the job stands. */
export type StatusFunctions = Readonly<Record<string, () => boolean>>;

/**
 * As much of GitHub's expressions as workflows of ours use: literals, property paths, ==, !=, !, &&, ||, parentheses, and the
 * status functions. Strings are compared without regard to case, what is missing is null, && and || give an operand.
 */
export function evaluate(expression: string, contexts: Contexts, functions: StatusFunctions = {}): unknown {
  const tokens = [...expression.matchAll(/\s*('(?:[^']|'')*'|[\w-]+(?:\.[\w-]+)*|==|!=|&&|\|\||[!()])/gy)].map(
    (match) => match[1] ?? '',
  );
  if (tokens.join('') !== expression.replace(/\s+(?=(?:[^']*'[^']*')*[^']*$)/g, ''))
    throw new Error(`this expression is not understood: ${expression}`);
  let at = 0;
  const next = () => tokens[at++] ?? '';
  const eat = (token: string) => tokens[at] === token && ++at > 0;

  const or = (): unknown => {
    let left = and();
    while (eat('||')) {
      const right = and();
      left = isTruthy(left) ? left : right;
    }
    return left;
  };
  const and = (): unknown => {
    let left = equality();
    while (eat('&&')) {
      const right = equality();
      left = isTruthy(left) ? right : left;
    }
    return left;
  };
  const equality = (): unknown => {
    const left = unary();
    if (eat('==')) return isSame(left, unary());
    if (eat('!=')) return !isSame(left, unary());
    return left;
  };
  const unary = (): unknown => (eat('!') ? !isTruthy(unary()) : primary());
  const primary = (): unknown => {
    const token = next();
    if (token === '(') {
      const value = or();
      if (!eat(')')) throw new Error(`a parenthesis is not closed: ${expression}`);
      return value;
    }
    if (token.startsWith("'")) return token.slice(1, -1).replaceAll("''", "'");
    if (/^\d+$/.test(token)) return Number(token);
    if (token === 'true' || token === 'false') return token === 'true';
    if (token === 'null') return null;
    if (eat('(')) {
      const called = functions[token];
      if (called === undefined || !eat(')')) throw new Error(`this function is not known here: ${token}`);
      return called();
    }
    return token.split('.').reduce<unknown>(property, contexts);
  };
  const value = or();
  if (at !== tokens.length) throw new Error(`this expression is not understood: ${expression}`);
  return value;
}

/** Text with `${{ … }}` in it. */
export function fillIn(text: string, contexts: Contexts): string {
  return text.replace(/\$\{\{(.*?)\}\}/gs, (_, expression: string) => {
    const value = evaluate(expression.trim(), contexts);
    if (value === null || value === undefined) return '';
    return typeof value === 'object' ? 'Object' : `${value as string | number | boolean}`;
  });
}

/** An `if`, with or without `${{ }}`; one that names no status function means success() as well. */
export function isDue(condition: string | undefined, contexts: Contexts, functions: StatusFunctions): boolean {
  const expression = (condition ?? '')
    .trim()
    .replace(/^\$\{\{(.*)\}\}$/s, '$1')
    .trim();
  const asksStatus = /\b(success|failure|cancelled|always)\s*\(\s*\)/.test(expression);
  if (!asksStatus && functions['success']?.() !== true) return false;
  return expression === '' || isTruthy(evaluate(expression, contexts, functions));
}

function property(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null) return null;
  return (value as Record<string, unknown>)[name] ?? null;
}

function isTruthy(value: unknown): boolean {
  return value !== null && value !== undefined && value !== '' && value !== 0 && value !== false;
}

function isSame(left: unknown, right: unknown): boolean {
  return typeof left === 'string' && typeof right === 'string'
    ? left.toLowerCase() === right.toLowerCase()
    : left === right;
}
