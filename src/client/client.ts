import { randomUUID } from 'node:crypto';
import type {
  ClaimView,
  EndedClaim,
  HeldClaim,
  ReleaseAnswer,
  RenewedLease,
  WaitingClaim,
} from '../protocol/claims.ts';
import type { CleaningLease } from '../protocol/cleaning.ts';
import type { BlockedPage, DeadLetter, PurgeAnswer, RedriveAnswer, UnblockAnswer } from '../protocol/dead-letters.ts';
import type { EventPage } from '../protocol/events.ts';
import type { MergeQueueDetail, MergeQueuePage, MergeQueueSettingsChange } from '../protocol/merge-queue.ts';
import type { AcceptedFailover, OrchestratorView } from '../protocol/orchestrator.ts';
import type {
  AppliedFile,
  MadeByFile,
  PatternSettings,
  QueuePatternDetail,
  QueuePatternPage,
} from '../protocol/patterns.ts';
import type { QueueDetail, QueuePage, QueueSettingsChange, TokenCheck } from '../protocol/queues.ts';
import type { QueuedRun, ReleaseHeldAnswer, RenewHeldAnswer, TakenRun } from '../protocol/runs.ts';
import {
  type ConfiguredWebhook,
  type Webhook,
  type WebhookDocument,
  type WebhookTest,
  webhookTimeoutMs,
} from '../protocol/webhooks.ts';
import { type BatchResults, sendBatch } from './batch.ts';
import { EventFeed, type EventFeedOptions, eventsCall } from './event-feed.ts';
import { type CallOptions, type HttpCall, HttpCalls, type RetryOptions } from './http-calls.ts';
import { claimPath, holderPath, mergeQueuePath, queuePath, queuePatternPath, webhookPath, withQuery } from './paths.ts';
import type {
  AcquireRequest,
  BatchOperation,
  CleanRequest,
  DeadLettersRequest,
  Ending,
  EnqueueRequest,
  EventsRequest,
  LeaseEnding,
  LeaseKey,
  MergeQueueKey,
  OperatorRequest,
  PageRequest,
  TakeRequest,
} from './requests.ts';

export interface SignalboxClientOptions {
  /** Of any replica or of a balancer in front of them; may have a path. */
  readonly url: string;
  /** Bearer token. */
  readonly token?: string | undefined;
  /** How long one attempt of a call may take, in ms (10000). */
  readonly timeoutMs?: number;
  /** Attempts and backoff after a failed connection or a 5xx (5 attempts, 100 ms doubling up to 2000 ms, jittered). */
  readonly retry?: Partial<RetryOptions>;
}

export interface DeadLetterPage {
  readonly dead_letters: readonly DeadLetter[];
  readonly next_cursor: string | null;
}

/**
 * The HTTP interface, typed: one method a call, answers as they come (snake_case, durations in ms). Problem documents are
 * thrown as `SignalboxError`; failed connections and 5xx are retried, then thrown as `ServiceUnreachableError` or
 * `SignalboxError`. Answers are not validated again.
 */
export class SignalboxClient {
  readonly url: string;
  readonly #calls: HttpCalls;

  constructor({ url, token, timeoutMs = 10_000, retry }: SignalboxClientOptions) {
    this.url = url;
    this.#calls = new HttpCalls({
      url,
      token,
      timeoutMs,
      retry: { attempts: 5, firstMs: 100, maxMs: 2000, ...retry },
    });
  }

  /** Asks for a place, or how the claim stands. A claim id is made here if there is none, so a retry is the same claim. */
  async acquire(queue: string, body: AcquireRequest, options?: CallOptions): Promise<HeldClaim | WaitingClaim> {
    const call = {
      method: 'POST',
      path: `${queuePath(queue)}/acquire`,
      body: { ...body, claim_id: body.claim_id ?? randomUUID() },
      waitMs: body.wait_ms ?? 0,
    } as const;
    return (await this.#calls.send(call, options)) as HeldClaim | WaitingClaim;
  }

  async getClaim(
    queue: string,
    claimId: string,
    { waitMs = 0, ...options }: CallOptions & { readonly waitMs?: number } = {},
  ): Promise<HeldClaim | WaitingClaim | EndedClaim> {
    const path = `${claimPath(queue, claimId)}?wait_ms=${waitMs}`;
    return (await this.#calls.send({ method: 'GET', path, waitMs }, options)) as HeldClaim | WaitingClaim | EndedClaim;
  }

  /** Keeps the lease for another `ttl_ms` (absent: its own). 410 `lease_lost` has the reason in `extra`. */
  async renew(lease: LeaseKey, options: CallOptions & { readonly ttlMs?: number } = {}): Promise<RenewedLease> {
    const { ttlMs, ...callOptions } = options;
    return (await this.#onLease(lease, 'renew', { ttl_ms: ttlMs }, callOptions)) as RenewedLease;
  }

  /**
   * Gives the place back. A lease that is already over answers `released: false` with the reason. With outcome `retry` the
   * claim is in line again, at its old place, after `retryAfterMs` (absent: the queue's backoff). `uncounted`: the work was
   * not begun, so the attempt does not count.
   */
  async release(
    lease: LeaseKey,
    options: CallOptions & {
      readonly outcome?: Ending['outcome'];
      readonly retryAfterMs?: number | undefined;
      readonly uncounted?: Ending['uncounted'];
      readonly error?: string | undefined;
    } = {},
  ): Promise<ReleaseAnswer> {
    const { outcome, retryAfterMs, uncounted, error, ...callOptions } = options;
    const ending = { outcome, retry_after_ms: retryAfterMs, uncounted, error } satisfies Ending;
    return (await this.#onLease(lease, 'release', ending, callOptions)) as ReleaseAnswer;
  }

  /** A waiting claim ends; the holder of a held one is asked to release it. */
  async cancel(queue: string, claimId: string, options?: CallOptions): Promise<HeldClaim | EndedClaim> {
    const call = { method: 'POST', path: `${claimPath(queue, claimId)}/cancel`, body: {} } as const;
    return (await this.#calls.send(call, options)) as HeldClaim | EndedClaim;
  }

  /** Ends a claim by an operator's decision, without its holder. */
  async break(
    queue: string,
    claimId: string,
    body: { readonly reason: string; readonly actor: string },
    options?: CallOptions,
  ): Promise<EndedClaim> {
    const call = { method: 'POST', path: `${claimPath(queue, claimId)}/break`, body } as const;
    return (await this.#calls.send(call, options)) as EndedClaim;
  }

  /**
   * Puts a run into the line. A claim id is made here if there is none, so a retry is the same run. `created` false: the id
   * is there already, perhaps by an attempt of this very call that got no answer; `claim` is how it stands.
   */
  async enqueue(
    queue: string,
    body: EnqueueRequest = {},
    options?: CallOptions,
  ): Promise<{ readonly created: boolean; readonly claim: QueuedRun | ClaimView }> {
    const call = {
      method: 'POST',
      path: `${queuePath(queue)}/enqueue`,
      body: { ...body, claim_id: body.claim_id ?? randomUUID() },
    } as const;
    const { status, body: claim } = await this.#calls.exchange(call, options);
    return { created: status === 201, claim: claim as QueuedRun | ClaimView };
  }

  /**
   * Takes up to `max` runs; each is held by `holder` from then on, with its payload. A request id is made here if there is
   * none, so a retry answers with the same runs, those that are still held.
   */
  async take(body: TakeRequest, options?: CallOptions): Promise<readonly TakenRun[]> {
    const call = {
      method: 'POST',
      path: 'v1/take',
      body: { ...body, request_id: body.request_id ?? randomUUID() },
      waitMs: body.wait_ms ?? 0,
    } as const;
    return ((await this.#calls.send(call, options)) as { readonly claims: readonly TakenRun[] }).claims;
  }

  /**
   * Takes up to `max` dirty slots of a queue with clean-up; each is held by `holder` from then on, renewed and released as any
   * lease: outcome `success`, or none, says that the slot is clean. A request id is made here if there is none, so a retry
   * answers with the same slots, those that are still held.
   */
  async clean(queue: string, body: CleanRequest, options?: CallOptions): Promise<readonly CleaningLease[]> {
    const call = {
      method: 'POST',
      path: `${queuePath(queue)}/clean`,
      body: { ...body, request_id: body.request_id ?? randomUUID() },
      waitMs: body.wait_ms ?? 0,
    } as const;
    return ((await this.#calls.send(call, options)) as { readonly claims: readonly CleaningLease[] }).claims;
  }

  /** Renews these leases of runs, or all the holder has taken, in one call. */
  async renewHeld(
    holder: string,
    leases?: readonly LeaseKey[],
    options: CallOptions & { readonly ttlMs?: number } = {},
  ): Promise<RenewHeldAnswer> {
    const { ttlMs, ...callOptions } = options;
    const body = { claims: leases?.map(keyOf), ttl_ms: ttlMs };
    const call = { method: 'POST', path: `${holderPath(holder)}/renew`, body } as const;
    return (await this.#calls.send(call, callOptions)) as RenewHeldAnswer;
  }

  /** Ends several leases in one call; the results are in the same order. */
  async releaseHeld(
    holder: string,
    endings: readonly LeaseEnding[],
    options?: CallOptions,
  ): Promise<ReleaseHeldAnswer['results']> {
    const claims = endings.map((ending) => {
      const { outcome, retry_after_ms, uncounted, error } = ending;
      return { ...keyOf(ending), outcome, retry_after_ms, uncounted, error };
    });
    const call = { method: 'POST', path: `${holderPath(holder)}/release`, body: { claims } } as const;
    return ((await this.#calls.send(call, options)) as ReleaseHeldAnswer).results;
  }

  /**
   * Up to 1000 operations in one call, each done and answered by itself: the results are in the same order and never thrown.
   * Those that met a transient failure are sent again, as any call is. Thrown is what concerns the whole call.
   */
  async batch<const Operations extends readonly BatchOperation[]>(
    operations: Operations,
    options: CallOptions = {},
  ): Promise<BatchResults<Operations>> {
    return (await sendBatch(this.#calls, operations, options)) as BatchResults<Operations>;
  }

  /** One page of dead letters, by queue and then by the time they died: of one queue, of a prefix, or of all. */
  async listDeadLetters(
    options: CallOptions & PageRequest & { readonly queue?: string | undefined } = {},
  ): Promise<DeadLetterPage> {
    const { queue, prefix, cursor, limit, ...callOptions } = options;
    const path = withQuery('v1/dead-letters', { queue, prefix, cursor, limit });
    return (await this.#calls.send({ method: 'GET', path }, callOptions)) as DeadLetterPage;
  }

  /** Puts dead letters back into the line, at their old places. Sent once: a repeat would not find them. */
  async redriveDeadLetters(queue: string, body: DeadLettersRequest, options?: CallOptions): Promise<RedriveAnswer> {
    return (await this.#once(`${queuePath(queue)}/dead-letters/redrive`, body, options)) as RedriveAnswer;
  }

  /** Deletes dead letters for good. Sent once: a repeat would not find them, or, with `all`, find newer ones. */
  async purgeDeadLetters(queue: string, body: DeadLettersRequest, options?: CallOptions): Promise<PurgeAnswer> {
    return (await this.#once(`${queuePath(queue)}/dead-letters/purge`, body, options)) as PurgeAnswer;
  }

  /** One page of queues whose lines wait for a retried or stopped run, and for which. */
  async listBlocked(options: CallOptions & PageRequest = {}): Promise<BlockedPage> {
    const { prefix, cursor, limit, ...callOptions } = options;
    const path = withQuery('v1/blocked', { prefix, cursor, limit });
    return (await this.#calls.send({ method: 'GET', path }, callOptions)) as BlockedPage;
  }

  /** What blocks the line stays where it is, but blocks no more. Sent once: a repeat would find nothing, or others. */
  async unblockQueue(queue: string, body: OperatorRequest, options?: CallOptions): Promise<UnblockAnswer> {
    return (await this.#once(`${queuePath(queue)}/unblock`, body, options)) as UnblockAnswer;
  }

  /** A delayed run is due now, a dead letter is back in line. Sent once: a repeat would be `not_retryable`. */
  async retryRun(queue: string, claimId: string, body: OperatorRequest, options?: CallOptions): Promise<QueuedRun> {
    return (await this.#once(`${claimPath(queue, claimId)}/retry`, body, options)) as QueuedRun;
  }

  /** The run blocks its line no more and is a dead letter. Sent once: a repeat would be `not_blocking`. */
  async skipRun(queue: string, claimId: string, body: OperatorRequest, options?: CallOptions): Promise<EndedClaim> {
    return (await this.#once(`${claimPath(queue, claimId)}/skip`, body, options)) as EndedClaim;
  }

  /** Makes a queue or changes its settings. With `ifVersion` it is sent once only: a repeat would meet its own change. */
  async configureQueue(
    queue: string,
    body: QueueSettingsChange,
    { ifVersion, ...options }: CallOptions & { readonly ifVersion?: number } = {},
  ): Promise<QueueDetail> {
    const call = { method: 'PUT', path: queuePath(queue), body, ...onlyAtVersion(ifVersion) } as const;
    return (await this.#calls.send(call, options)) as QueueDetail;
  }

  async getQueue(queue: string, options?: CallOptions): Promise<QueueDetail> {
    return (await this.#calls.send({ method: 'GET', path: queuePath(queue) }, options)) as QueueDetail;
  }

  /** One page of queues by name; `next_cursor` goes into `cursor` for the next one. */
  async listQueues(
    options: CallOptions & { readonly prefix?: string; readonly cursor?: string; readonly limit?: number } = {},
  ): Promise<QueuePage> {
    const { prefix = '', cursor = '', limit = 100, ...callOptions } = options;
    const query = new URLSearchParams({ prefix, cursor, limit: `${limit}` });
    return (await this.#calls.send({ method: 'GET', path: `v1/queues?${query.toString()}` }, callOptions)) as QueuePage;
  }

  /** Deletes a queue nobody uses, or with `force` any. Sent once: the queue is gone when it is asked again. */
  async deleteQueue(
    queue: string,
    options: CallOptions & { readonly force?: boolean; readonly ifVersion?: number } = {},
  ): Promise<void> {
    const { force = false, ifVersion, ...callOptions } = options;
    const path = `${queuePath(queue)}?force=${force}`;
    const call = { method: 'DELETE', path, ...onlyAtVersion(ifVersion), isIdempotent: false } as const;
    await this.#calls.send(call, callOptions);
  }

  /** Does a held lease of this slot bear exactly this token? */
  async checkToken(queue: string, token: number, slot = 1, options?: CallOptions): Promise<TokenCheck> {
    const path = `${queuePath(queue)}/check?fencing_token=${token}&slot=${slot}`;
    return (await this.#calls.send({ method: 'GET', path }, options)) as TokenCheck;
  }

  /** One page of patterns by name; `next_cursor` goes into `cursor` for the next one. */
  async listQueuePatterns(options: CallOptions & PageRequest = {}): Promise<QueuePatternPage> {
    const { prefix, cursor, limit, ...callOptions } = options;
    const path = withQuery('v1/queue-patterns', { prefix, cursor, limit });
    return (await this.#calls.send({ method: 'GET', path }, callOptions)) as QueuePatternPage;
  }

  async getQueuePattern(pattern: string, options?: CallOptions): Promise<QueuePatternDetail> {
    const path = queuePatternPath(pattern);
    return (await this.#calls.send({ method: 'GET', path }, options)) as QueuePatternDetail;
  }

  /** Makes a pattern or replaces its settings. With `ifVersion` it is sent once only: a repeat would meet its own change. */
  async configureQueuePattern(
    pattern: string,
    body: PatternSettings,
    { ifVersion, ...options }: CallOptions & { readonly ifVersion?: number } = {},
  ): Promise<QueuePatternDetail> {
    const call = { method: 'PUT', path: queuePatternPath(pattern), body, ...onlyAtVersion(ifVersion) } as const;
    return (await this.#calls.send(call, options)) as QueuePatternDetail;
  }

  /** Deletes a pattern; its queues inherit what is left. Sent once: it is gone when it is asked again. */
  async deleteQueuePattern(
    pattern: string,
    { ifVersion, ...options }: CallOptions & { readonly ifVersion?: number } = {},
  ): Promise<void> {
    const path = queuePatternPath(pattern);
    const call = { method: 'DELETE', path, ...onlyAtVersion(ifVersion), isIdempotent: false } as const;
    await this.#calls.send(call, options);
  }

  /** What the last apply of a file made; of one never applied nothing, at version 0. */
  async getAppliedFile(label: string, options?: CallOptions): Promise<AppliedFile> {
    const path = `v1/applied-files/${encodeURIComponent(label)}`;
    return (await this.#calls.send({ method: 'GET', path }, options)) as AppliedFile;
  }

  /** Remembers what an apply of a file made. Sent once only: a repeat would meet its own change. */
  async recordAppliedFile(
    label: string,
    made: MadeByFile,
    { ifVersion, ...options }: CallOptions & { readonly ifVersion: number },
  ): Promise<AppliedFile> {
    const path = `v1/applied-files/${encodeURIComponent(label)}`;
    const call = { method: 'PUT', path, body: made, ...onlyAtVersion(ifVersion) } as const;
    return (await this.#calls.send(call, options)) as AppliedFile;
  }

  /** One page of merge queues by name, with their builds; `prefix` begins with merge-queue/. */
  async listMergeQueues(options: CallOptions & PageRequest = {}): Promise<MergeQueuePage> {
    const { prefix, cursor, limit, ...callOptions } = options;
    const path = withQuery('v1/merge-queues', { prefix, cursor, limit });
    return (await this.#calls.send({ method: 'GET', path }, callOptions)) as MergeQueuePage;
  }

  async getMergeQueue(key: MergeQueueKey, options?: CallOptions): Promise<MergeQueueDetail> {
    return (await this.#calls.send({ method: 'GET', path: mergeQueuePath(key) }, options)) as MergeQueueDetail;
  }

  /** Makes a merge queue or changes its settings. With `ifVersion` it is sent once only: a repeat would meet its own change. */
  async configureMergeQueue(
    key: MergeQueueKey,
    body: MergeQueueSettingsChange,
    { ifVersion, ...options }: CallOptions & { readonly ifVersion?: number } = {},
  ): Promise<MergeQueueDetail> {
    const call = { method: 'PUT', path: mergeQueuePath(key), body, ...onlyAtVersion(ifVersion) } as const;
    return (await this.#calls.send(call, options)) as MergeQueueDetail;
  }

  /** Deletes a merge queue without builds, or with `force` any. Sent once: it is gone when it is asked again. */
  async deleteMergeQueue(
    key: MergeQueueKey,
    options: CallOptions & { readonly force?: boolean; readonly ifVersion?: number } = {},
  ): Promise<void> {
    const { force = false, ifVersion, ...callOptions } = options;
    const path = `${mergeQueuePath(key)}?force=${force}`;
    const call = { method: 'DELETE', path, ...onlyAtVersion(ifVersion), isIdempotent: false } as const;
    await this.#calls.send(call, callOptions);
  }

  /** Forgets all builds of a merge queue, its holder too. Sent once: a repeat would forget those that came since. */
  async clearMergeQueue(key: MergeQueueKey, options?: CallOptions): Promise<void> {
    const call = { method: 'DELETE', path: mergeQueuePath(key, true), isIdempotent: false } as const;
    await this.#calls.send(call, options);
  }

  /** All webhooks by name. */
  async listWebhooks(options?: CallOptions): Promise<readonly Webhook[]> {
    const answer = await this.#calls.send({ method: 'GET', path: 'v1/webhooks' }, options);
    return (answer as { readonly webhooks: readonly Webhook[] }).webhooks;
  }

  async getWebhook(name: string, options?: CallOptions): Promise<Webhook> {
    return (await this.#calls.send({ method: 'GET', path: webhookPath(name) }, options)) as Webhook;
  }

  /**
   * Makes a webhook or replaces its settings: what `body` leaves out has its default, only the secret stays. Sent once only
   * with `ifVersion`, since a repeat would meet its own change, and without `secret`: a repeat would not be shown the one
   * that the first had made.
   */
  async configureWebhook(
    name: string,
    body: WebhookDocument,
    { ifVersion, ...options }: CallOptions & { readonly ifVersion?: number } = {},
  ): Promise<ConfiguredWebhook> {
    const isIdempotent = body.secret !== undefined;
    const call = { method: 'PUT', path: webhookPath(name), body, isIdempotent, ...onlyAtVersion(ifVersion) } as const;
    return (await this.#calls.send(call, options)) as ConfiguredWebhook;
  }

  /** Deletes a webhook. Sent once: it is gone when it is asked again. */
  async deleteWebhook(
    name: string,
    { ifVersion, ...options }: CallOptions & { readonly ifVersion?: number } = {},
  ): Promise<void> {
    const call = {
      method: 'DELETE',
      path: webhookPath(name),
      ...onlyAtVersion(ifVersion),
      isIdempotent: false,
    } as const;
    await this.#calls.send(call, options);
  }

  /** Sends a webhook one signed event, and tells what became of it: `delivered` may be false. Sent once. */
  async testWebhook(name: string, options?: CallOptions): Promise<WebhookTest> {
    const path = `${webhookPath(name)}/test`;
    const call = { method: 'POST', path, waitMs: webhookTimeoutMs, isIdempotent: false } as const;
    return (await this.#calls.send(call, options)) as WebhookTest;
  }

  /** One page of the feed; `next_after` goes into `after` for the next one, also when it is empty. */
  async readEvents(request: EventsRequest = {}, options?: CallOptions): Promise<EventPage> {
    return (await this.#calls.send(eventsCall(request), options)) as EventPage;
  }

  /** What happened, and what happens from now on, in order: `for await (const event of client.events({ prefix: 'deploy/' }))`. */
  events(options?: EventFeedOptions): EventFeed {
    return new EventFeed((request, callOptions) => this.readEvents(request, callOptions), options);
  }

  async orchestrator(options?: CallOptions): Promise<OrchestratorView> {
    return (await this.#calls.send({ method: 'GET', path: 'v1/orchestrator' }, options)) as OrchestratorView;
  }

  /**
   * Ends all quarantines of the last failover of the database; with `timeline` only if it is the one that began this
   * timeline, so one that came since is not accepted unseen. Sent once: a repeat could accept a later one.
   */
  async acceptFailover(
    body: { readonly actor: string; readonly timeline?: string | undefined },
    options?: CallOptions,
  ): Promise<AcceptedFailover> {
    return (await this.#once('v1/failover/accept', body, options)) as AcceptedFailover;
  }

  /** Resolves if the replica that answers can serve; throws its reason otherwise, at once. */
  async ready(options?: CallOptions): Promise<void> {
    await this.#calls.send({ method: 'GET', path: 'readyz', isIdempotent: false }, options);
  }

  #once(path: string, body: object, options: CallOptions | undefined): Promise<unknown> {
    return this.#calls.send({ method: 'POST', path, body, isIdempotent: false } satisfies HttpCall, options);
  }

  #onLease(lease: LeaseKey, verb: 'renew' | 'release', body: object, options: CallOptions): Promise<unknown> {
    const path = `${claimPath(lease.queue, lease.claim_id)}/${verb}`;
    return this.#calls.send({ method: 'POST', path, body: { fencing_token: lease.fencing_token, ...body } }, options);
  }
}

/** The key alone: what is handed in may have the fields of a whole lease, and the service refuses those it does not know. */
function keyOf({ queue, claim_id, fencing_token }: LeaseKey): LeaseKey {
  return { queue, claim_id, fencing_token };
}

function onlyAtVersion(version: number | undefined): { headers?: Record<string, string>; isIdempotent?: false } {
  return version === undefined ? {} : { headers: { 'if-match': `"${version}"` }, isIdempotent: false };
}
