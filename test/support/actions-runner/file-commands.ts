import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export type Values = Record<string, string>;

/** The files by which a step tells the runner of outputs, state and environment; new ones for each step. */
export class FileCommands {
  readonly env: Values;
  readonly #path: (name: string) => string;

  constructor(temp: string) {
    const folder = mkdtempSync(join(temp, '_runner_file_commands-'));
    this.#path = (name) => join(folder, name);
    const names = ['GITHUB_OUTPUT', 'GITHUB_STATE', 'GITHUB_ENV', 'GITHUB_STEP_SUMMARY'];
    for (const name of names) writeFileSync(this.#path(name), '');
    this.env = Object.fromEntries(names.map((name) => [name, this.#path(name)]));
  }

  /** NAME=value, or NAME<<delimiter, lines, delimiter. */
  values(name: 'GITHUB_OUTPUT' | 'GITHUB_STATE' | 'GITHUB_ENV'): Values {
    const values: Values = {};
    const lines = readFileSync(this.#path(name), 'utf8').split('\n');
    for (let at = 0; at < lines.length; at++) {
      const line = lines[at] ?? '';
      if (line === '') continue;
      const [, key = '', form = '', rest = ''] = /^(.*?)(=|<<)(.*)$/.exec(line) ?? [];
      if (key === '') throw new Error(`Invalid format '${line}'`);
      if (form === '=') {
        values[key] = rest;
        continue;
      }
      const end = lines.indexOf(rest, at + 1);
      if (end < 0) throw new Error(`Matching delimiter not found '${rest}'`);
      values[key] = lines.slice(at + 1, end).join('\n');
      at = end;
    }
    return values;
  }

  get summary(): string {
    return readFileSync(this.#path('GITHUB_STEP_SUMMARY'), 'utf8');
  }
}
