import { alsoNames } from '../protocol/claims.ts';
import type { AcquireBody, BreakBody, ReleaseBody, RenewBody } from '../protocol/claims.ts';
import type { CallContext, Coordinator, EnqueueRequest } from '../protocol/coordinator.ts';
import type { ClaimId, QueueName } from '../protocol/ids.ts';
import type { QueuedRun } from '../protocol/runs.ts';
import { type Operation, databaseErrors } from './operation.ts';

/** The names in the path of a single call; in a batch they stand beside the fields of the body. */
interface OfQueue {
  readonly queue: QueueName;
}
interface OfClaim extends OfQueue {
  readonly claim_id: ClaimId;
}

/**
 * A call that may come alone or as one operation of a batch: what it is and needs, and how it is done and answered, said
 * once for both.
 */
export interface Verb<Where, Body, Answer> {
  readonly operation: Operation;
  readonly run: (coordinator: Coordinator, where: Where, body: Body, call: CallContext) => Promise<Answer>;
}

function verb<Where, Body, Answer>(
  operation: Operation,
  run: Verb<Where, Body, Answer>['run'],
): Verb<Where, Body, Answer> {
  return { operation, run };
}

function ok<Body>(body: Body): { readonly status: 200; readonly body: Body } {
  return { status: 200, body };
}

const errorsOfClaim = ['claim_not_found', 'queue_not_found'] as const;
/** What every verb but reading may meet of a claim on several queues. */
const notHere = 'not_primary';

export const acquire = verb(
  {
    id: 'acquire',
    summary: 'Ask for a place; ask again with the same claim_id and holder to learn how the claim stands.',
    tag: 'claims',
    needs: { scope: 'use', queues: 'named', alsoNamed: (body: AcquireBody) => alsoNames(body) },
    errors: [
      'ttl_too_long',
      'queue_not_found',
      'queue_busy',
      'queue_closed',
      'claim_id_reused',
      notHere,
      'claim_ended',
      'queue_full',
      'quarantined',
      ...databaseErrors,
    ],
  },
  async (coordinator, { queue }: OfQueue, body: AcquireBody, call) => {
    const claim = await coordinator.acquire(queue, body, call);
    return claim.state === 'held' ? ok(claim) : ({ status: 202, body: claim } as const);
  },
);

/** How long a single call waits is said in its query. */
export const get = verb(
  {
    id: 'getClaim',
    summary: 'How a claim stands; with wait_ms the answer waits for a change.',
    tag: 'claims',
    needs: { scope: 'read', queues: 'named' },
    errors: ['queue_not_found', 'claim_not_found', ...databaseErrors],
  },
  async (coordinator, { queue, claim_id: claimId }: OfClaim, { wait_ms: waitMs = 0 }: { wait_ms?: number }, call) =>
    ok(await coordinator.getClaim(queue, claimId, waitMs, call)),
);

export const renew = verb(
  {
    id: 'renew',
    summary: 'Keep a lease for another ttl_ms.',
    tag: 'claims',
    needs: { scope: 'use', queues: 'named' },
    errors: ['ttl_too_long', ...errorsOfClaim, notHere, 'token_mismatch', 'lease_lost', ...databaseErrors],
  },
  async (coordinator, { queue, claim_id: claimId }: OfClaim, body: RenewBody, call) =>
    ok(await coordinator.renew(queue, claimId, body, call)),
);

export const release = verb(
  {
    id: 'release',
    summary: 'Give the place back; the next in line gets it in the same commit.',
    tag: 'claims',
    needs: { scope: 'use', queues: 'named' },
    errors: [...errorsOfClaim, notHere, 'token_mismatch', ...databaseErrors],
  },
  async (coordinator, { queue, claim_id: claimId }: OfClaim, body: ReleaseBody, call) =>
    ok(await coordinator.release(queue, claimId, body, call)),
);

export const cancel = verb(
  {
    id: 'cancel',
    summary: 'Take a claim out of the line; the holder of a held one is asked to release it.',
    tag: 'claims',
    needs: { scope: 'use', queues: 'named' },
    errors: [...errorsOfClaim, notHere, ...databaseErrors],
    bodyIsOptional: true,
  },
  async (coordinator, { queue, claim_id: claimId }: OfClaim, _body: object | undefined, call) =>
    ok(await coordinator.cancel(queue, claimId, call)),
);

export const breakClaim = verb(
  {
    id: 'break',
    summary: "End a claim by an operator's decision, without its holder.",
    tag: 'claims',
    needs: { scope: 'admin', queues: 'named' },
    errors: [...errorsOfClaim, notHere, ...databaseErrors],
  },
  async (coordinator, { queue, claim_id: claimId }: OfClaim, body: BreakBody, call) =>
    ok(await coordinator.break(queue, claimId, body, call)),
);

export const enqueue = verb(
  {
    id: 'enqueue',
    summary: 'Put a run into line; 200 and how it stands if its claim_id is there already.',
    tag: 'runs',
    needs: { scope: 'use', queues: 'named' },
    errors: [
      'payload_too_large',
      'queue_not_found',
      'queue_closed',
      'claim_id_reused',
      'queue_full',
      ...databaseErrors,
    ],
    keepsBodyText: true,
  },
  async (coordinator, { queue }: OfQueue, request: EnqueueRequest, call) => {
    const { created, claim } = await coordinator.enqueue(queue, request, call);
    // A run that is new is queued; its answer is typed for all an old one can be.
    return created ? ({ status: 201, body: claim as QueuedRun } as const) : ok(claim);
  },
);
