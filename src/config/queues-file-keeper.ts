import { basename } from 'node:path';
import { SignalboxError } from '../protocol/errors.ts';
import { backoffMs } from '../runtime/backoff.ts';
import { Pause } from '../runtime/pause.ts';
import type { Service } from '../runtime/service.ts';
import { applyFile, stepText } from './apply.ts';
import type { ApplyTarget } from './apply-target.ts';
import { type FileContent, fileChanges, readFileContent } from './file-changes.ts';
import { parseQueuesFile, type QueuesFile, RefusedFileError } from './queues-file.ts';
import { SettingsError } from './settings.ts';

/** The file of `QUEUES_FILE`, read once and found good. */
export interface GoodQueuesFile {
  readonly path: string;
  readonly prune: boolean;
  readonly content: FileContent;
  /** Throws `RefusedFileError`. */
  readonly parse: (content: FileContent) => QueuesFile;
}

/** Reads the file before anything is started. Throws `SettingsError` with all its problems. */
export async function readQueuesFile(
  { path, prune }: { readonly path: string; readonly prune: boolean },
  environment: Readonly<Record<string, string | undefined>>,
): Promise<GoodQueuesFile> {
  const parse = (content: FileContent) => {
    if (content.kind === 'unreadable')
      throw new RefusedFileError(path, [{ line: 1, text: `cannot be read: ${content.error.message}` }]);
    return parseQueuesFile(path, content.text, environment);
  };
  const content = await readFileContent(path);
  try {
    parse(content);
  } catch (error) {
    throw asSettingsError(error);
  }
  return { path, prune, content, parse };
}

/** What became of the file, for the log. */
export type QueuesFileEvent =
  | { readonly kind: 'applied'; readonly changes: readonly string[]; readonly notDone: readonly string[] }
  /** What was applied last stays. */
  | { readonly kind: 'refused'; readonly problems: readonly string[] }
  /** It is tried again. */
  | { readonly kind: 'failed'; readonly error: unknown };

export interface QueuesFileKeeperOptions {
  readonly file: GoodQueuesFile;
  readonly target: ApplyTarget;
  readonly onEvent: (event: QueuesFileEvent) => void;
  readonly everyMs?: number;
}

const startAttemptsMax = 8;

/**
 * Applies the file when it starts, so that what starts after it finds the queues as they shall be, and again whenever its
 * content changes. `start()` throws `SettingsError` if the file contradicts what the database has.
 */
export class QueuesFileKeeper implements Service {
  readonly name = 'queues-file';
  readonly #options: QueuesFileKeeperOptions;
  readonly #stopping = new AbortController();
  #started: Promise<void> | undefined;
  #watching: Promise<void> = Promise.resolve();

  constructor(options: QueuesFileKeeperOptions) {
    this.#options = options;
  }

  start(): Promise<void> {
    return (this.#started ??= this.#start());
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#started?.catch(() => undefined);
    await this.#watching;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #start(): Promise<void> {
    const { file } = this.#options;
    const { signal } = this.#stopping;
    for (let attempt = 1; !signal.aborted; attempt++) {
      try {
        await this.#apply(file.content);
        this.#watching = this.#watch();
        return;
      } catch (error) {
        if (error instanceof RefusedFileError) throw asSettingsError(error);
        if (attempt >= startAttemptsMax || !passes(error)) throw error;
        await this.#failed(attempt, error);
      }
    }
  }

  async #watch(): Promise<void> {
    const { file, everyMs = 1000, onEvent } = this.#options;
    const { signal } = this.#stopping;
    for await (const content of fileChanges(file.path, { known: file.content, everyMs, signal })) {
      for (let attempt = 0; !signal.aborted; attempt++) {
        try {
          await this.#apply(content);
          break;
        } catch (error) {
          if (error instanceof RefusedFileError) {
            onEvent({ kind: 'refused', problems: error.problems });
            break;
          }
          await this.#failed(attempt, error);
        }
      }
    }
  }

  async #apply(content: FileContent): Promise<void> {
    const { file, target, onEvent } = this.#options;
    const { path, prune } = file;
    const parsed = file.parse(content);
    const { done, refused } = await applyFile(parsed, target, { path, label: parsed.label ?? basename(path), prune });
    onEvent({
      kind: 'applied',
      changes: done.map(stepText),
      notDone: refused.map(({ step, error }) => `${stepText(step)}: ${error.message}`),
    });
  }

  async #failed(attempt: number, error: unknown): Promise<void> {
    this.#options.onEvent({ kind: 'failed', error });
    await new Pause().wait(backoffMs(attempt, { firstMs: 250, maxMs: 15_000 }), this.#stopping.signal);
  }
}

function passes(error: unknown): boolean {
  return error instanceof SignalboxError && error.status >= 500;
}

function asSettingsError(error: unknown): unknown {
  if (!(error instanceof RefusedFileError)) return error;
  return new SettingsError(error.problems.map((problem) => `QUEUES_FILE: ${problem}`));
}
