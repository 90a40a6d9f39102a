import { isDeepStrictEqual } from 'node:util';
import { type MergeQueueId, MergeQueueSettings } from '../protocol/merge-queue.ts';
import type { Database } from '../store/database.ts';
import { type MergeQueueRow, configureMergeQueue, readMergeQueueRow } from '../store/merge-queues.ts';
import { mergeQueueDetail } from './details.ts';

/** Who did it, in the events. */
const actor = 'file';

/**
 * Makes these merge queues, or sets them so, and returns the names of those that were changed. Those that are so already
 * are not written to, so any number of replicas may do it at once. Merge queues that are not named stay as they are.
 */
export async function applyConfiguredQueues(
  db: Database,
  configured: readonly { readonly id: MergeQueueId; readonly settings: MergeQueueSettings }[],
): Promise<readonly string[]> {
  const changed: string[] = [];
  for (const { id, settings } of configured) {
    const row = await readMergeQueueRow(db, id.name);
    if (row !== undefined && !row.auto_created && isDeepStrictEqual(settingsOf(row), settings)) continue;
    await configureMergeQueue(db, id, settings, { defaults: settings, ifVersion: undefined, actor });
    changed.push(id.name);
  }
  return changed;
}

function settingsOf(row: MergeQueueRow): MergeQueueSettings {
  return MergeQueueSettings.strip().parse(mergeQueueDetail(row, []));
}
