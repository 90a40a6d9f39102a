import { z } from 'zod';
import { Actor } from './runs.ts';

const Instant = z.string().meta({ format: 'date-time' });

export const Failover = z.object({
  at: Instant.meta({ description: 'When it was noticed.' }),
  timeline: z.string(),
  previous: z.string().nullable(),
  accepted_at: Instant.nullable().meta({ description: 'When an operator ended all quarantines.' }),
  accepted_by: z.string().nullable(),
  quarantine_ms: z.int().meta({ description: 'For how long queues still grant nothing new, at most.' }),
});
export type Failover = z.infer<typeof Failover>;

export const AcceptFailoverBody = z.strictObject({
  actor: Actor,
  timeline: z
    .string()
    .regex(/^[0-9A-F]{8}$/, 'must be 8 digits of 0-9 A-F')
    .optional()
    .meta({ description: 'Only if the last failover began this timeline: nothing is accepted that nobody has seen.' }),
});
export type AcceptFailoverBody = z.infer<typeof AcceptFailoverBody>;

export const AcceptedFailover = z.object({
  accepted: z.boolean().meta({ description: 'False: there was none to accept, or not of this timeline.' }),
  failover: Failover.nullable().meta({ description: 'The last one, as it stands now; null = none was seen.' }),
});
export type AcceptedFailover = z.infer<typeof AcceptedFailover>;

export const OrchestratorView = z.object({
  leader: z.string().nullable().meta({ description: 'replica_id of the leader; null = nobody leads now.' }),
  epoch: z.int(),
  acquired_at: Instant.nullable(),
  renewed_at: Instant.nullable(),
  expires_at: Instant.nullable(),
  ttl_remaining_ms: z.int(),
  last_sweep_at: Instant.nullable(),
  replica_id: z.string().meta({ description: 'The replica that answers.' }),
  failover: Failover.nullable().meta({ description: 'The last failover of the database; null = none was seen.' }),
  terms: z.array(
    z.object({
      epoch: z.int(),
      leader: z.string(),
      started_at: Instant,
      ended_at: Instant.nullable(),
      end_reason: z.string().nullable(),
    }),
  ),
  chores: z.array(
    z.object({
      chore: z.string(),
      epoch: z.int(),
      finished_at: Instant,
      duration_ms: z.int(),
      counts: z.record(z.string(), z.number()),
      last_error: z.string().nullable(),
      last_error_at: Instant.nullable(),
    }),
  ),
  replicas: z.array(
    z.object({
      replica_id: z.string(),
      version: z.string(),
      url: z.string().nullable(),
      started_at: Instant,
      heard_at: Instant,
      alive: z.boolean().meta({ description: 'Heard within the last 15 s.' }),
    }),
  ),
});
export type OrchestratorView = z.infer<typeof OrchestratorView>;
