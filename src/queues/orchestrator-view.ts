import type { ReplicaId } from '../protocol/ids.ts';
import type { AcceptedFailover, AcceptFailoverBody, Failover, OrchestratorView } from '../protocol/orchestrator.ts';
import type { Database } from '../store/database.ts';
import { acceptFailover, readFailover } from '../store/failovers.ts';
import { readChores, readLeaderView, readReplicas, readTerms } from '../store/orchestrator-reads.ts';
import { databaseProblem } from './database-problem.ts';

/** A replica reports itself every 5 s; three misses and it is shown as gone. */
const aliveMs = 15_000;

/** Who leads, who led, what the chores did, which replicas are there. */
export async function readOrchestrator(db: Database, replicaId: ReplicaId): Promise<OrchestratorView> {
  try {
    const [leader, terms, chores, replicas, failover] = await Promise.all([
      readLeaderView(db),
      readTerms(db, 20),
      readChores(db),
      readReplicas(db, aliveMs),
      readFailover(db),
    ]);
    return {
      leader: leader?.leads === true ? leader.leader : null,
      epoch: Number(leader?.epoch ?? 0),
      acquired_at: instant(leader?.acquired_at),
      renewed_at: instant(leader?.renewed_at),
      expires_at: instant(leader?.expires_at),
      ttl_remaining_ms: Number(leader?.ttl_remaining_ms ?? 0),
      last_sweep_at: instant(leader?.last_sweep_at),
      replica_id: replicaId,
      failover: failoverView(failover),
      terms: terms.map((term) => ({
        epoch: Number(term.epoch),
        leader: term.leader,
        started_at: term.started_at.toISOString(),
        ended_at: instant(term.ended_at),
        end_reason: term.end_reason,
      })),
      chores: chores.map((chore) => ({
        chore: chore.chore,
        epoch: Number(chore.epoch),
        finished_at: chore.finished_at.toISOString(),
        duration_ms: chore.duration_ms,
        counts: chore.counts,
        last_error: chore.last_error,
        last_error_at: instant(chore.last_error_at),
      })),
      replicas: replicas.map((replica) => ({
        replica_id: replica.replica_id,
        version: replica.version,
        url: replica.url,
        started_at: replica.started_at.toISOString(),
        heard_at: replica.heard_at.toISOString(),
        alive: replica.alive,
      })),
    };
  } catch (error) {
    throw databaseProblem(error);
  }
}

/** Ends all quarantines of the last failover, and tells how it stands then. What waits is served by the leader's next sweep. */
export async function acceptLastFailover(
  db: Database,
  { actor, timeline }: AcceptFailoverBody,
): Promise<AcceptedFailover> {
  try {
    const accepted = await acceptFailover(db, actor, timeline);
    return { accepted, failover: failoverView(await readFailover(db)) };
  } catch (error) {
    throw databaseProblem(error);
  }
}

function failoverView(row: Awaited<ReturnType<typeof readFailover>>): Failover | null {
  if (row === undefined || row.changed_at === null) return null;
  return {
    at: row.changed_at.toISOString(),
    timeline: row.timeline,
    previous: row.previous,
    accepted_at: instant(row.accepted_at),
    accepted_by: row.accepted_by,
    quarantine_ms: Number(row.quarantine_ms),
  };
}

function instant(at: Date | null | undefined): string | null {
  return at?.toISOString() ?? null;
}
