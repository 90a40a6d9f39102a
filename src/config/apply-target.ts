import { type ErrorCode, SignalboxError } from '../protocol/errors.ts';
import type { QueueName } from '../protocol/ids.ts';
import type { MergeQueueDetail, MergeQueueId, MergeQueueSettingsChange } from '../protocol/merge-queue.ts';
import type {
  AppliedFile,
  MadeByFile,
  PatternSettings,
  QueuePattern,
  QueuePatternDetail,
} from '../protocol/patterns.ts';
import type { QueueDetail, QueueSettingsChange } from '../protocol/queues.ts';

/** What a file is applied to: a service over HTTP, or this replica's own verbs. undefined = there is none of that name. */
export interface ApplyTarget {
  getQueue(queue: QueueName): Promise<QueueDetail | undefined>;
  configureQueue(queue: QueueName, change: QueueSettingsChange): Promise<unknown>;
  deleteQueue(queue: QueueName): Promise<void>;
  getPattern(pattern: QueuePattern): Promise<QueuePatternDetail | undefined>;
  setPattern(pattern: QueuePattern, settings: PatternSettings): Promise<unknown>;
  deletePattern(pattern: QueuePattern): Promise<void>;
  getMergeQueue(id: MergeQueueId): Promise<MergeQueueDetail | undefined>;
  configureMergeQueue(id: MergeQueueId, change: MergeQueueSettingsChange): Promise<unknown>;
  deleteMergeQueue(id: MergeQueueId): Promise<void>;
  appliedFile(label: string): Promise<AppliedFile>;
  /** Throws `version_mismatch` if another apply of the label came in between. */
  recordApplied(label: string, made: MadeByFile, ifVersion: number): Promise<AppliedFile>;
}

/** What was asked for; undefined where the answer is that it is not there. */
export async function ifThere<Detail>(asked: Promise<Detail>, missing: ErrorCode): Promise<Detail | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof SignalboxError && error.code === missing) return undefined;
    throw error;
  }
}
