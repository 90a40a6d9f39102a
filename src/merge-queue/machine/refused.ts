import type { MergeRefusal, MergeStatus } from '../../protocol/merge-queue.ts';
import type { Answer } from './calls.ts';

/** `hasStatus`: the status the build has, where that is why. */
export function refused(refusal: MergeRefusal, hasStatus: MergeStatus | null = null): Answer {
  return { kind: 'refused', refusal, hasStatus };
}
