import { createHash } from 'node:crypto';
import { backoffMs } from '../runtime/backoff.ts';
import { Pause } from '../runtime/pause.ts';
import { type Cluster, ClusterError, type RunEvent } from './cluster.ts';
import type { PipelineRun } from './pipeline-run.ts';

/** What may happen to a run, as `kubectl describe` shows it. */
export type Occurrence =
  | 'Queued'
  | 'Started'
  | 'StartFailed'
  | 'LeaseLost'
  | 'ReleaseRequested'
  | 'Recovered'
  | 'Released'
  | 'Refused'
  | 'ClaimEnded';

const warnings: readonly Occurrence[] = ['StartFailed', 'LeaseLost', 'ReleaseRequested', 'Refused', 'ClaimEnded'];

/**
 * The event of an occurrence. Its name is made from what happened (`key`: the claim or token it is about), so that two gates
 * that tell of the same thing, or one that tells it again after a restart, make one event.
 */
export function runEvent(run: PipelineRun, reason: Occurrence, key: string, message: string): RunEvent {
  const digest = createHash('sha256').update(`${run.uid} ${reason} ${key}`).digest('hex').slice(0, 16);
  return {
    name: `${run.name.slice(0, 200)}.${digest}`,
    type: warnings.includes(reason) ? 'Warning' : 'Normal',
    reason,
    message,
  };
}

/** Tries three times and gives up: events are for people, nothing rests on them. */
export async function createEvent(
  cluster: Cluster,
  run: PipelineRun,
  event: RunEvent,
  signal: AbortSignal,
): Promise<void> {
  for (let attempt = 0; attempt < 3; attempt++) {
    try {
      await cluster.createEvent(run, event, signal);
      return;
    } catch (error) {
      const isFinal = error instanceof ClusterError && ['conflict', 'not_found', 'refused'].includes(error.failure);
      if (isFinal || signal.aborted) return;
      await new Pause().wait(backoffMs(attempt, { firstMs: 500, maxMs: 5000 }), signal);
    }
  }
}
