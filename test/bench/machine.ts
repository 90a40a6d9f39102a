import { closeSync, fdatasyncSync, openSync, rmSync, writeSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, totalmem } from 'node:os';
import { join } from 'node:path';

/** What every absolute figure depends on. */
export interface Machine {
  readonly cores: number;
  readonly processor: string;
  readonly memory_gib: number;
  readonly node: string;
  readonly postgres: string;
  readonly postgres_settings: Readonly<Record<string, string>>;
  /** Writes of 8 kB that reach the disk of the data directory one after another, each second. */
  readonly fdatasync_per_second: number;
  /** Of the last minute, before the bench began. More than a few tenths: others were at work. */
  readonly load_average: number;
}

export function describeMachine(
  dataDir: string,
  postgres: { readonly version: string; readonly settings: Readonly<Record<string, string>> },
): Machine {
  return {
    cores: availableParallelism(),
    processor: cpus()[0]?.model ?? 'unknown',
    memory_gib: Math.round(totalmem() / 2 ** 30),
    node: process.version,
    postgres: postgres.version,
    postgres_settings: postgres.settings,
    fdatasync_per_second: fdatasyncRate(dataDir),
    load_average: loadavg()[0] ?? 0,
  };
}

function fdatasyncRate(directory: string): number {
  const path = join(directory, 'fdatasync-rate');
  const file = openSync(path, 'w');
  try {
    const page = Buffer.alloc(8192, 1);
    writeSync(file, page, 0, page.length, 0);
    fdatasyncSync(file);
    const startedAtMs = performance.now();
    let writes = 0;
    while (performance.now() - startedAtMs < 1000) {
      // One page again and again, as a write-ahead log that is written to its end.
      writeSync(file, page, 0, page.length, 0);
      fdatasyncSync(file);
      writes++;
    }
    return Math.round((writes / (performance.now() - startedAtMs)) * 1000);
  } finally {
    closeSync(file);
    rmSync(path);
  }
}
