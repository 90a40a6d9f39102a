import { z } from 'zod';
import { HeldClaim, TtlMs, WaitMs } from './claims.ts';
import { ClaimId, HolderId } from './ids.ts';
import { claimsPerCallMax } from './runs.ts';

export const CleanBody = z.strictObject({
  holder: HolderId,
  max: z.int().min(1).max(claimsPerCallMax).default(1),
  ttl_ms: TtlMs.optional(),
  wait_ms: WaitMs.default(0),
  request_id: ClaimId.optional().meta({
    description: 'The same holder and request_id again within an hour: the same slots, those still held.',
  }),
});
export type CleanBody = z.infer<typeof CleanBody>;

const Instant = z.string().meta({ format: 'date-time', description: "By the database's clock." });

/** Whose the slot was before: what there is to clean up after. */
export const PreviousGrant = z.object({
  claim_id: z.string(),
  kind: z.enum(['claim', 'run']),
  holder: z.string(),
  fencing_token: z.int(),
  state: z
    .string()
    .meta({ description: 'What became of the claim: released, expired, broken, dead, waiting (again), …' }),
  reason: z.string(),
  outcome: z.string().nullable(),
  ended_at: Instant,
  labels: z.record(z.string(), z.string()),
  metadata: z.record(z.string(), z.unknown()),
});
export type PreviousGrant = z.infer<typeof PreviousGrant>;

/** A dirty slot that a cleaner has. `attempt`: how many cleaners have had it, this one included. */
export const CleaningLease = HeldClaim.extend({ kind: z.literal('cleaning'), previous: PreviousGrant });
export type CleaningLease = z.infer<typeof CleaningLease>;
export const CleanAnswer = z.object({ claims: z.array(CleaningLease) });
