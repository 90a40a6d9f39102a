import type { RunPatch } from './cluster.ts';
import { type Notes, markNotes, startedNotes } from './notes.ts';
import type { PipelineRun } from './pipeline-run.ts';
import type { TrackedRun } from './tracked-run.ts';

/**
 * Every write names the uid and the version it was decided on: it is stored on that very object in that very version or not
 * at all. So of two gates one wins, a run that replaced another of its name is never touched, and a patch that comes late
 * finds a newer version.
 */
function guarded(run: PipelineRun, annotations?: Notes): RunPatch['metadata'] {
  const { uid, resourceVersion } = run;
  return { uid, resourceVersion, ...(annotations === undefined ? {} : { annotations }) };
}

/** The start: pending bit, token and claim in one write. */
export function startPatch(tracked: TrackedRun, token: number): RunPatch {
  return { metadata: guarded(tracked.run, startedNotes(tracked, token)), spec: { status: null } };
}

export function markPatch(tracked: TrackedRun, token: number): RunPatch {
  return { metadata: guarded(tracked.run, markNotes(tracked, token)) };
}

export function tellPatch({ run }: TrackedRun, notes: Notes): RunPatch {
  return { metadata: guarded(run, notes) };
}

/** Tekton's own way: running tasks are cancelled, what is under `finally` still runs. */
export function cancelPatch({ run }: TrackedRun): RunPatch {
  return { metadata: guarded(run), spec: { status: 'CancelledRunFinally' } };
}
