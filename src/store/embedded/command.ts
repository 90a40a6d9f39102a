import { spawn } from 'node:child_process';
import { dirname, isAbsolute } from 'node:path';
import type { ServerOwner } from './server-owner.ts';

export interface CommandResult {
  /** null: ended by a signal. */
  readonly exitCode: number | null;
  /** stdout and stderr as they came. */
  readonly output: string;
}

/**
 * Runs a program to its end, as `owner` if there is one. It rejects only if the program cannot be started at all.
 *
 * The program gets a session of its own, so that Ctrl-C in a terminal cannot end an initdb half-way; the PG* variables
 * of our environment stay out, because PGDATA, PGPORT or PGOPTIONS would change what the server tools do.
 */
export function runCommand(file: string, args: readonly string[], owner: ServerOwner | null): Promise<CommandResult> {
  const inherited = Object.entries(process.env).filter(([name]) => !/^(PG|LC_|LANG)/.test(name));
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, {
      // The caller's directory may be closed to `owner`.
      cwd: isAbsolute(file) ? dirname(file) : '/',
      env: { ...Object.fromEntries(inherited), LC_ALL: 'C' },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
      windowsHide: true,
      ...owner,
    });
    let output = '';
    const collect = (chunk: string) => (output += chunk);
    child.stdout.setEncoding('utf8').on('data', collect);
    child.stderr.setEncoding('utf8').on('data', collect);
    child.once('error', reject);
    child.once('close', (exitCode) => resolve({ exitCode, output: output.trim() }));
  });
}
