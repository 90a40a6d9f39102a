#!/usr/bin/env node
import { runCommandLine } from './cli/program.ts';

const code = await runCommandLine(process.argv, process.env);
if (['run', 'elect', 'status'].includes(process.argv[2] ?? '')) {
  // They have no database connection; and for those that run a command to touch the streams would make a pipe that a command shares non-blocking.
  process.exitCode = code;
} else {
  // What is left over (a connection that never answers) must not keep the process alive; what was printed must get out.
  await Promise.all([process.stdout, process.stderr].map(flushed));
  process.exit(code);
}

function flushed(stream: NodeJS.WriteStream): Promise<void> {
  if (stream.writableLength === 0 || !stream.writable) return Promise.resolve();
  return new Promise((resolve) => {
    stream.once('error', () => resolve());
    stream.write('', () => resolve());
  });
}
