/**
 * The one catalogue of error codes. A code is stable: clients branch on it; a retired one is never used again.
 * The README lists exactly these (a test compares both). `status` is the HTTP status it goes out with.
 */
export const errorCatalogue = {
  invalid_request: { status: 400, title: 'The request does not fit its schema' },
  invalid_json: { status: 400, title: 'The body is not valid JSON' },
  invalid_settings: { status: 400, title: 'The settings contradict each other' },
  ttl_too_long: { status: 400, title: "ttl_ms is above the queue's max_ttl_ms" },
  unauthenticated: { status: 401, title: 'The call needs a token that is known here' },
  forbidden: { status: 403, title: 'The token does not allow this call' },
  route_not_found: { status: 404, title: 'No such route' },
  queue_not_found: { status: 404, title: 'No such queue' },
  pattern_not_found: { status: 404, title: 'No such pattern' },
  webhook_not_found: { status: 404, title: 'No such webhook' },
  merge_queue_not_found: { status: 404, title: 'No such merge queue' },
  claim_not_found: { status: 404, title: 'No such claim, or it ended longer ago than is remembered' },
  method_not_allowed: { status: 405, title: 'The route does not know this method' },
  request_timeout: { status: 408, title: 'The request did not arrive in time' },
  queue_busy: { status: 409, title: 'No free place, and the caller does not wait' },
  queue_closed: { status: 409, title: 'The queue takes no new claims and runs' },
  claim_id_reused: { status: 409, title: 'The claim id belongs to another holder' },
  not_primary: { status: 409, title: 'The claim was asked for in another queue' },
  token_mismatch: { status: 409, title: 'The claim never had this fencing token, or another holder has it' },
  queue_in_use: { status: 409, title: 'The queue has holders or waiting claims' },
  merge_queue_in_use: { status: 409, title: 'Builds wait in the merge queue, or one has its lease' },
  request_id_reused: { status: 409, title: 'The holder used this request id for another take' },
  not_retryable: { status: 409, title: 'The run is neither delayed nor dead' },
  not_blocking: { status: 409, title: 'Its line is not blocked by this run' },
  claim_ended: { status: 410, title: 'The claim has ended' },
  lease_lost: { status: 410, title: 'The lease is over' },
  version_mismatch: { status: 412, title: 'The queue is not at the version named by If-Match' },
  body_too_large: { status: 413, title: 'The body is larger than this service accepts' },
  payload_too_large: { status: 413, title: 'The payload is larger than this service accepts' },
  uri_too_long: { status: 414, title: 'The URL is longer than this service accepts' },
  unsupported_media_type: { status: 415, title: 'The body must be application/json' },
  queue_full: { status: 429, title: 'The line is at max_waiting, or its runs at max_runs' },
  headers_too_large: { status: 431, title: 'The request headers are larger than this service accepts' },
  internal_error: { status: 500, title: 'A defect of this service' },
  database_unavailable: {
    status: 503,
    title: 'The database cannot be reached; whether the call took effect is unknown',
  },
  database_timeout: {
    status: 503,
    title: 'The database did not answer in time; whether the call took effect is unknown',
  },
  overloaded: { status: 503, title: 'Too much work is queued here; nothing was done' },
  shutting_down: { status: 503, title: 'This replica is stopping; another one will serve the call' },
  quarantined: {
    status: 503,
    title: 'The database failed over: for a while the queue grants nothing new, and the caller does not wait',
  },
  not_ready: { status: 503, title: 'This replica is not ready' },
} as const satisfies Record<string, { status: number; title: string }>;

export type ErrorCode = keyof typeof errorCatalogue;

export interface SignalboxErrorOptions {
  /** What happened in this case, for a person. */
  readonly detail?: string;
  /** Further members of the problem document, e.g. `state` and `reason`. */
  readonly extra?: Readonly<Record<string, unknown>>;
  /** When the caller may try again, in ms; goes out as Retry-After. */
  readonly retryAfterMs?: number;
  readonly cause?: unknown;
}

/** The one error class. Everything a caller of the service must tell apart has its own `code`. */
export class SignalboxError extends Error {
  readonly code: ErrorCode;
  readonly status: number;
  readonly extra: Readonly<Record<string, unknown>>;
  readonly retryAfterMs: number | undefined;

  constructor(code: ErrorCode, options: SignalboxErrorOptions = {}) {
    super(options.detail ?? errorCatalogue[code].title, { cause: options.cause });
    this.name = 'SignalboxError';
    this.code = code;
    this.status = errorCatalogue[code].status;
    this.extra = options.extra ?? {};
    this.retryAfterMs = options.retryAfterMs;
  }
}
