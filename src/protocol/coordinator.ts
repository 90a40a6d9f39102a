import type {
  AcquireBody,
  BreakBody,
  ClaimView,
  EndedClaim,
  HeldClaim,
  ReleaseAnswer,
  ReleaseBody,
  RenewBody,
  RenewedLease,
  WaitingClaim,
} from './claims.ts';
import type { CleanBody, CleaningLease } from './cleaning.ts';
import type {
  BlockedPage,
  DeadLetter,
  DeadLettersBody,
  PurgeAnswer,
  RedriveAnswer,
  UnblockAnswer,
} from './dead-letters.ts';
import type { ClaimId, FencingToken, HolderId, QueueName } from './ids.ts';
import type { JsonText } from './json-text.ts';
import type { EventPage, EventsRequest } from './events.ts';
import type { AcceptedFailover, AcceptFailoverBody, OrchestratorView } from './orchestrator.ts';
import type { QueueDetail, QueuePage, QueueSettingsChange, TokenCheck } from './queues.ts';
import type {
  EnqueueBody,
  LeaseEnding,
  LeaseEnded,
  OperatorBody,
  QueuedRun,
  RenewHeldAnswer,
  RenewHeldBody,
  TakeBody,
  TakenRun,
} from './runs.ts';

/**
 * How one call arrived. `receivedAtMs` is on the replica's monotonic clock. `signal` aborts when the client hangs up, and,
 * for calls that wait, with reason SignalboxError `shutting_down` when the replica stops: then they answer at once.
 */
export interface CallContext {
  readonly receivedAtMs: number;
  readonly signal: AbortSignal;
  /** The caller may read only: its asking does not count as the client of the claim being heard. */
  readonly onlyLooks?: boolean;
}

/** A payload goes through the service as the text it came as. */
export type EnqueueRequest = Omit<EnqueueBody, 'payload'> & { readonly payload: JsonText | undefined };
export type TakenRunWithText = Omit<TakenRun, 'payload'> & { readonly payload: JsonText };
export type DeadLetterWithText = Omit<DeadLetter, 'payload'> & { readonly payload: JsonText };

/** A page of what belongs to several queues. */
export interface PageRequest {
  readonly queue: QueueName | undefined;
  /** '' = of all queues. */
  readonly prefix: string;
  readonly cursor: string;
  readonly limit: number;
}

/**
 * The verbs a client may ask for, in the words of the HTTP contract. What a sane caller must handle comes back as a
 * union by `state` or `kind`; everything that is a problem document is thrown as SignalboxError.
 */
export interface Coordinator {
  acquire(queue: QueueName, body: AcquireBody, context: CallContext): Promise<HeldClaim | WaitingClaim>;
  getClaim(queue: QueueName, claimId: ClaimId, waitMs: number, context: CallContext): Promise<ClaimView>;
  renew(queue: QueueName, claimId: ClaimId, body: RenewBody, context: CallContext): Promise<RenewedLease>;
  release(queue: QueueName, claimId: ClaimId, body: ReleaseBody, context: CallContext): Promise<ReleaseAnswer>;
  cancel(queue: QueueName, claimId: ClaimId, context: CallContext): Promise<HeldClaim | EndedClaim>;
  break(queue: QueueName, claimId: ClaimId, body: BreakBody, context: CallContext): Promise<EndedClaim>;
  /** `created` false: a claim of this id is there already, or is remembered; this is how it stands. */
  enqueue(
    queue: QueueName,
    request: EnqueueRequest,
    context: CallContext,
  ): Promise<{ readonly created: boolean; readonly claim: QueuedRun | ClaimView }>;
  take(body: TakeBody, context: CallContext): Promise<{ readonly claims: readonly TakenRunWithText[] }>;
  clean(
    queue: QueueName,
    body: CleanBody,
    context: CallContext,
  ): Promise<{ readonly claims: readonly CleaningLease[] }>;
  /** `prefix`: without a list of claims only those of queues whose name begins so. */
  renewHeld(holder: HolderId, body: RenewHeldBody, prefix: string, context: CallContext): Promise<RenewHeldAnswer>;
  releaseHeld(holder: HolderId, claims: readonly LeaseEnding[]): Promise<{ readonly results: readonly LeaseEnded[] }>;
  listDeadLetters(
    page: PageRequest,
  ): Promise<{ readonly dead_letters: readonly DeadLetterWithText[]; readonly next_cursor: string | null }>;
  redriveDeadLetters(queue: QueueName, body: DeadLettersBody): Promise<RedriveAnswer>;
  purgeDeadLetters(queue: QueueName, body: DeadLettersBody): Promise<PurgeAnswer>;
  listBlocked(page: Omit<PageRequest, 'queue'>): Promise<BlockedPage>;
  unblockQueue(queue: QueueName, body: OperatorBody): Promise<UnblockAnswer>;
  /** Throws 409 `not_retryable` unless the run is delayed or dead. */
  retryRun(queue: QueueName, claimId: ClaimId, body: OperatorBody): Promise<QueuedRun>;
  /** Throws 409 `not_blocking` unless the run stops its line. */
  skipRun(queue: QueueName, claimId: ClaimId, body: OperatorBody): Promise<EndedClaim>;
  configureQueue(
    queue: QueueName,
    change: QueueSettingsChange,
    options: { ifVersion: number | undefined; actor: string | undefined },
  ): Promise<QueueDetail>;
  getQueue(queue: QueueName): Promise<QueueDetail>;
  listQueues(options: { prefix: string; cursor: string; limit: number }): Promise<QueuePage>;
  deleteQueue(
    queue: QueueName,
    options: { force: boolean; ifVersion: number | undefined; actor: string | undefined },
  ): Promise<void>;
  checkToken(queue: QueueName, token: FencingToken, slot: number): Promise<TokenCheck>;
  orchestrator(): Promise<OrchestratorView>;
  /** `accepted` false: none to accept, or its timeline is another one. */
  acceptFailover(body: AcceptFailoverBody): Promise<AcceptedFailover>;
  readEvents(request: EventsRequest, context: CallContext): Promise<EventPage>;
}

/** What /readyz and /healthz report. */
export interface Health {
  /** Can this replica serve? It reaches a primary that takes writes, and is not stopping. */
  readiness(): Promise<
    | { ready: true; details: Record<string, unknown> }
    | {
        ready: false;
        code: 'database_unavailable' | 'database_timeout' | 'not_ready' | 'shutting_down';
        detail: string;
      }
  >;
  /** Is the process itself well? Never depends on the database. `leadership` says: follower, leader, or leader that could not renew. */
  liveness(): { details: Record<string, unknown> };
}
