import type { PipelineRun } from './pipeline-run.ts';

/** A merge patch of a run, guarded: it is done only on this very object in this very version. */
export interface RunPatch {
  readonly metadata: {
    readonly uid: string;
    readonly resourceVersion: string;
    readonly annotations?: Readonly<Record<string, string | null>>;
  };
  readonly spec?: { readonly status: string | null };
}

export interface RunEvent {
  /** The same for the same occurrence, whichever gate tells it: the second one is refused as there already. */
  readonly name: string;
  readonly type: 'Normal' | 'Warning';
  readonly reason: string;
  readonly message: string;
}

/** What the gate asks of Kubernetes. All but `unknown` failures mean that nothing was done. */
export interface Cluster {
  /** As it is stored now; undefined: there is none of this name. */
  getRun(namespace: string, name: string, signal: AbortSignal): Promise<PipelineRun | undefined>;
  /** The run as it is after the patch. */
  patchRun(run: PipelineRun, patch: RunPatch, signal: AbortSignal): Promise<PipelineRun>;
  createEvent(run: PipelineRun, event: RunEvent, signal: AbortSignal): Promise<void>;
}

/**
 * conflict: the object is another one by now. not_found: it is gone. not_done: try later (429). refused: it will not be done
 * as it is (forbidden, a webhook). unknown: no answer, or one that does not tell; it may have been done, or may be yet.
 */
export type ClusterFailure = 'conflict' | 'not_found' | 'not_done' | 'refused' | 'unknown';

export class ClusterError extends Error {
  readonly failure: ClusterFailure;
  /** The HTTP status, if there was an answer. */
  readonly status: number | undefined;

  constructor(
    failure: ClusterFailure,
    message: string,
    options: { readonly status?: number; readonly cause?: unknown } = {},
  ) {
    super(message, { cause: options.cause });
    this.name = 'ClusterError';
    this.failure = failure;
    this.status = options.status;
  }
}

/**
 * What an answer that is not 2xx says of a guarded patch. 409: the version is another one (or, of an event, it is there).
 * 422: the uid is another one, which the server reports as an immutable field, or the object would not be valid.
 * 408, 500, 502, 503 and 504 do not tell whether it was stored.
 */
export function failureOfStatus(status: number): ClusterFailure {
  if (status === 409) return 'conflict';
  if (status === 404 || status === 410) return 'not_found';
  if (status === 429) return 'not_done';
  if (status === 408 || status >= 500) return 'unknown';
  return 'refused';
}
