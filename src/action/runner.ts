import { randomUUID } from 'node:crypto';
import { appendFileSync } from 'node:fs';

export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * What a step tells the runner: lines of the log, annotations, and the files whose paths the runner gives it. Texts of lines
 * and annotations may come from anywhere: none of them becomes a command to the runner.
 */
export interface Runner {
  info(line: string): void;
  notice(line: string): void;
  warning(line: string): void;
  error(line: string): void;
  /** From now on the runner prints *** where this text would stand. Nothing is said for an empty text. */
  mask(secret: string): void;
  setOutput(name: string, value: string): void;
  /** The post step of this same step finds it as STATE_<name>. The runner reads it even if the step is killed. */
  saveState(name: string, value: string): void;
  /** One line of Markdown on the page of the run. */
  summarise(line: string): void;
}

export function runnerOf(env: Environment, print: (text: string) => void): Runner {
  const command = (name: string, text: string) => print(`::${name}::${escaped(text)}\n`);
  // Read as data of a known command; a runner that does not know it looks for one in its text.
  const annotate = (name: string, text: string) => command(name, text.split(lineEnd).map(withoutCommand).join('\n'));
  return {
    info: (line) => print(`${withoutCommand(line)}\n`),
    notice: (line) => annotate('notice', line),
    warning: (line) => annotate('warning', line),
    error: (line) => annotate('error', line),
    mask: (secret) => {
      if (secret.trim() !== '') command('add-mask', secret);
    },
    setOutput: (name, value) => append(env['GITHUB_OUTPUT'], keyValue(name, value)),
    saveState: (name, value) => append(env['GITHUB_STATE'], keyValue(name, value)),
    summarise: (line) => append(env['GITHUB_STEP_SUMMARY'], `${inOneLine(line)}\n`),
  };
}

const lineEnd = /\r\n|[\r\n\u0085\u2028\u2029]/;

/** Beside white space all that the runner does not see when it looks for a marker: it compares as a language does. */
const blank = /[\s\p{Cc}\p{Cf}\p{Default_Ignorable_Code_Point}]+/gu;

/** One line whatever it is made of. */
export function inOneLine(text: string): string {
  return text.replace(blank, ' ').trim();
}

/** The runner looks for `::` where a line begins, white space aside, and for `##[` anywhere in it. */
function withoutCommand(line: string): string {
  return inOneLine(line)
    .replace(/^:(?=:)/, ': ')
    .replace(/##(?=\[)/g, '# #');
}

function append(path: string | undefined, text: string): void {
  if (path !== undefined && path !== '') appendFileSync(path, text);
}

/** The form for values of any content; nobody can guess the delimiter. */
function keyValue(name: string, value: string): string {
  const delimiter = `ghadelimiter_${randomUUID()}`;
  return `${name}<<${delimiter}\n${value}\n${delimiter}\n`;
}

function escaped(text: string): string {
  return text.replaceAll('%', '%25').replaceAll('\r', '%0D').replaceAll('\n', '%0A');
}
