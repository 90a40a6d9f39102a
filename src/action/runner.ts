import { randomUUID } from 'node:crypto';
import { appendFileSync } from 'node:fs';

export type Environment = Readonly<Record<string, string | undefined>>;

/** What a step tells the runner: lines of the log, annotations, and the files whose paths the runner gives it. */
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
  return {
    // One line whatever it is made of: at the beginning of a line, text of a server could be a command to the runner.
    info: (line) => print(`${line.replace(/\s+/g, ' ').replace(/^::/, ' ::')}\n`),
    notice: (line) => command('notice', line),
    warning: (line) => command('warning', line),
    error: (line) => command('error', line),
    mask: (secret) => {
      if (secret.trim() !== '') command('add-mask', secret);
    },
    setOutput: (name, value) => append(env['GITHUB_OUTPUT'], keyValue(name, value)),
    saveState: (name, value) => append(env['GITHUB_STATE'], keyValue(name, value)),
    summarise: (line) => append(env['GITHUB_STEP_SUMMARY'], `${line}\n`),
  };
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
