import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

/** What a file holds now, or why it cannot be read. */
export type FileContent =
  { readonly kind: 'content'; readonly text: string } | { readonly kind: 'unreadable'; readonly error: Error };

/** Larger files are a mistake. */
const bytesMax = 4_194_304;

export async function readFileContent(path: string): Promise<FileContent> {
  try {
    const bytes = await readFile(path);
    if (bytes.length > bytesMax) throw new Error(`it has more than ${bytesMax} bytes`);
    return { kind: 'content', text: bytes.toString('utf8') };
  } catch (error) {
    return { kind: 'unreadable', error: error instanceof Error ? error : new Error(String(error)) };
  }
}

/**
 * What the file holds, each time it holds something else than `known`, until the signal aborts. It is read, not watched:
 * editors replace files, mounted configuration swaps links to folders, and times of files say little. Only what two reads
 * in a row agree on counts, since a file may be read while it is written.
 */
export async function* fileChanges(
  path: string,
  { known, everyMs, signal }: { readonly known: FileContent; readonly everyMs: number; readonly signal: AbortSignal },
): AsyncGenerator<FileContent> {
  let last = known;
  let seen = known;
  while (await passes(everyMs, signal)) {
    const now = await readFileContent(path);
    if (isSame(now, seen) && !isSame(now, last)) {
      last = now;
      yield now;
    }
    seen = now;
  }
}

/** Waits so long; false = the signal came first. */
async function passes(ms: number, signal: AbortSignal): Promise<boolean> {
  await sleep(ms, undefined, { signal }).catch(() => undefined);
  return !signal.aborted;
}

function isSame(a: FileContent, b: FileContent): boolean {
  if (a.kind === 'content') return b.kind === 'content' && a.text === b.text;
  return b.kind === 'unreadable' && a.error.message === b.error.message;
}
