import {
  type KnownRequest,
  type MergeAnswer,
  type MergeGrantView,
  type MergeQueueSettings,
  type MergeRequestView,
  type MergeWaitView,
  type ProviderView,
  providerId,
} from '../../protocol/merge-queue.ts';

type Json = Readonly<Record<string, unknown>>;

function instant(ms: number): string {
  return new Date(ms).toISOString();
}

function requestJson({ headSha, headRef, priority, status }: MergeRequestView): Json {
  return { head_sha: headSha, head_ref: headRef, priority, status };
}

/** The stack is left out, not empty, of whatever is not acquired. */
function contextJson({ request, stackedPullRequests }: KnownRequest): Json {
  return {
    request: requestJson(request),
    ...(stackedPullRequests === null
      ? {}
      : { stacked_pull_requests: stackedPullRequests.map((number) => ({ number })) }),
  };
}

function grantJson(grant: MergeGrantView): Json {
  return {
    fencing_token: grant.fencingToken,
    acquired_at: instant(grant.acquiredAtMs),
    expires_at: instant(grant.expiresAtMs),
    ttl_remaining_ms: grant.ttlRemainingMs,
    renew_after_ms: grant.renewAfterMs,
  };
}

function waitJson({ blockedBy, ...wait }: MergeWaitView): Json {
  return {
    position: wait.position,
    waiting_for: wait.waitingFor,
    blocked_by: blockedBy && { ...requestJson(blockedBy), held_for_ms: blockedBy.heldForMs },
    window_remaining_ms: wait.windowRemainingMs,
    registered: wait.registered,
    delays_left: wait.delaysLeft,
  };
}

/** The original's fields, and behind them what a holder or a waiting build is told besides. */
export function answerJson(answer: Extract<MergeAnswer, { kind: 'request' }>): Json {
  const { grant, wait, pollAfterMs, waitedMs } = answer;
  return {
    ...contextJson(answer),
    ...(grant === null ? {} : { ...grantJson(grant), waited_ms: waitedMs }),
    ...(wait === null ? {} : { ...waitJson(wait), poll_after_ms: pollAfterMs, waited_ms: waitedMs }),
  };
}

/** The original's fields and no other. */
export function releaseJson(answer: Extract<MergeAnswer, { kind: 'request' }>): Json {
  return contextJson(answer);
}

/** The original counts in whole seconds. */
function configJson(settings: MergeQueueSettings): Json {
  return {
    stabilize_duration: Math.trunc(settings.stabilisation_ms / 1000),
    ttl: Math.trunc(settings.ttl_ms / 1000),
    expected_request_count: settings.expected_count,
    delay_assignment_count: settings.delay_count,
  };
}

export function providerJson({ lastUpdatedAtMs, acquired, known, settings }: ProviderView): Json {
  return {
    last_updated_at: instant(lastUpdatedAtMs),
    acquired: acquired && contextJson(acquired),
    known: known.map(contextJson),
    config: configJson(settings),
  };
}

export function providersJson(providers: readonly ProviderView[]): Json {
  return Object.fromEntries(providers.map((provider) => [providerId(provider.id), providerJson(provider)]));
}
