/** What others may import: `import { SignalboxClient } from 'signalbox/client'`. */
export { SignalboxError } from '../protocol/errors.ts';
export {
  type AcquiredLease,
  type AcquireLeaseOptions,
  type AcquireOutcome,
  acquireLease,
  withdrawClaim,
} from './acquire-lease.ts';
export { isTransient } from './answer.ts';
export type { BatchResult, BatchResults } from './batch.ts';
export {
  cleanSlots,
  type CleanSlotsOptions,
  type DirtySlot,
  type DirtySlotOptions,
  takeDirtySlot,
} from './clean-slots.ts';
export { type DeadLetterPage, SignalboxClient, type SignalboxClientOptions } from './client.ts';
export { drainQueue, type Drained, type DrainOptions } from './drain.ts';
export { campaign, type CampaignOptions, type ElectionName } from './election/campaign.ts';
export { NotAnElectionError, ResignedError } from './election/errors.ts';
export { handOverRequests, type HandOverWatch, watchForHandOver } from './election/hand-over.ts';
export { type EndedTerm, lead, type LeadOptions } from './election/lead.ts';
export type { Leadership } from './election/leadership.ts';
export { type Leader, type Observation, observe, type ObserveOptions } from './election/observe.ts';
export { EventFeed, type EventFeedOptions } from './event-feed.ts';
export { LeaseLostError, ReleaseRequestedError, ServiceUnreachableError, UnknownRefusalError } from './errors.ts';
export { type CallOptions, isSendable, type RetryOptions } from './http-calls.ts';
export { LeaseKeeper, type LeaseKeeperEvents } from './lease-keeper.ts';
export { type LeaseScope, NotAcquiredError, openLease, withLease } from './lease-scope.ts';
export { leaseWindow, type LeaseWindow, stopTimeMs } from './lease-window.ts';
export type {
  AcquireRequest,
  BatchOperation,
  CleanRequest,
  DeadLettersRequest,
  Ending,
  EnqueueRequest,
  EventsRequest,
  LeaseEnding,
  LeaseKey,
  LeaseName,
  MergeQueueKey,
  Mode,
  OperatorRequest,
  Outcome,
  PageRequest,
  TakeRequest,
} from './requests.ts';
export { type RunEnd, Worker, type WorkerCall, type WorkerEvents } from './worker.ts';
export type { RunContext, RunHandler, StopOptions, WorkerOptions } from './worker/options.ts';
export {
  type OutcomeRule,
  PermanentFailure,
  RetryLater,
  type RunEnding,
  WorkerStoppingError,
} from './worker/outcomes.ts';
