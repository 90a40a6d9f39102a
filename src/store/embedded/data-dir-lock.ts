/**
 * One process at a time decides about a data directory.
 *
 * The lock is the exclusive lock of an (empty, never written) SQLite file, because that is the one lock of the operating
 * system that Node can reach: it ends with its process however that ends, so `kill -9` leaves nothing to judge. A lock
 * file with a pid in it has to be judged stale and broken, and two processes that do so at once both get in.
 */
import { DatabaseSync } from 'node:sqlite';
import type { DataDir } from './data-dir.ts';
import { type Deadline, pollPause } from './deadline.ts';
import { EmbeddedServerError } from './errors.ts';

const sqliteBusy = 5;

/** Runs `work` while no other caller, here or in another process, is inside. Throws `data_dir_lock_timeout`. */
export async function withDataDirLock<T>(dataDir: DataDir, deadline: Deadline, work: () => Promise<T>): Promise<T> {
  // No waiting inside SQLite: that would block the event loop.
  const file = new DatabaseSync(dataDir.lockFile, { timeout: 0 });
  try {
    while (!isTaken(file)) {
      if (deadline.hasPassed()) {
        throw new EmbeddedServerError(
          'data_dir_lock_timeout',
          `another process holds ${dataDir.lockFile} and did not let go in time; is it stopped or starting a slow server?`,
        );
      }
      await pollPause();
    }
    return await work();
  } finally {
    file.close();
  }
}

function isTaken(file: DatabaseSync): boolean {
  try {
    file.exec('BEGIN EXCLUSIVE');
    return true;
  } catch (error) {
    // The low byte is the primary code; the rest tells kinds of busy apart.
    if (error instanceof Error && 'errcode' in error && (Number(error.errcode) & 0xff) === sqliteBusy) return false;
    throw error;
  }
}
