import { closeSync, constants, fstatSync, openSync, writeSync } from 'node:fs';

/**
 * Lines of the wrapper's own on stderr. They never make it wait: a reader that has stalled (a pager, a hung CI log) would
 * otherwise stop the renewals of a healthy job; what a full pipe does not take is dropped. Where stderr can be opened
 * anew that is a description of its own, so that the command's stays blocking, as most programs expect.
 */
export class OwnLines implements Disposable {
  readonly #descriptor = ownStderr();

  print(line: string): void {
    try {
      writeSync(this.#descriptor ?? 2, `signalbox: ${line}\n`);
    } catch {
      // Full, or nobody reads it: the command matters more.
    }
  }

  [Symbol.dispose](): void {
    if (this.#descriptor !== undefined) closeSync(this.#descriptor);
  }
}

/** Pipes on Linux only. A file opened anew would have a position of its own, and the command's lines would overwrite ours. */
function ownStderr(): number | undefined {
  try {
    if (!fstatSync(2).isFIFO()) return undefined;
    return openSync('/proc/self/fd/2', constants.O_WRONLY | constants.O_NONBLOCK | constants.O_APPEND);
  } catch {
    return undefined;
  }
}
