import { told } from './annotations.ts';
import type { PipelineRun } from './pipeline-run.ts';

/**
 * The claim of a run's n-th wish for a place. By UID: a run that replaces another of its name is another claim. Numbered:
 * a claim id is used once, and a run whose claim has ended may have to ask again.
 */
export function claimIdOf(uid: string, attempt: number): string {
  return `pipelinerun/${uid}/${attempt}`;
}

/** Which wish the run is at, as far as its annotations know; the service says if that one has ended. */
export function attemptOf(run: PipelineRun): number {
  const [, attempt = '1'] = /^pipelinerun\/[^/]+\/([1-9]\d{0,8})$/.exec(run.annotations[told.claim] ?? '') ?? [];
  return run.annotations[told.claim] === claimIdOf(run.uid, Number(attempt)) ? Number(attempt) : 1;
}

/**
 * Who holds: the run itself. All gates of a cluster ask under this one name, so that asking is idempotent between them: they
 * get the same claim and the same token, and whichever is alive goes on with it.
 */
export function holderOf({ namespace, name, uid }: PipelineRun): string {
  return `tekton:${namespace}/${name.slice(0, 90)}:${uid.slice(0, 8)}`;
}
