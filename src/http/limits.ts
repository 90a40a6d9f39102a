import { payloadBytesMax } from '../protocol/runs.ts';

/** Every bound the HTTP side keeps. All are numbers with their unit last; `defaultHttpLimits` says why each is what it is. */
export interface HttpLimits {
  readonly bodyBytesMax: number;
  readonly urlBytesMax: number;
  /** Request line and headers together. */
  readonly headerBytesMax: number;
  readonly connectionsMax: number;
  /** Silence on a connection, in either direction, after which it is closed. */
  readonly connectionTimeoutMs: number;
  /** From the first byte of a request to the last of its body. */
  readonly requestTimeoutMs: number;
  readonly headersTimeoutMs: number;
  /** Idle time between two requests of a connection. */
  readonly keepAliveTimeoutMs: number;
  /** How long a stopping server waits for answers under way before it cuts their connections. */
  readonly drainTimeoutMs: number;
}

/**
 * What the body limit is at least for calls whose bodies may be long by their schemas; all others have `bodyBytesMax` as
 * configured.
 */
export const bodyBytesAtLeast = {
  /** A largest payload and as much besides as any other body. */
  enqueue: payloadBytesMax + 65_536,
  /** 1000 leases with the longest names, or 1000 endings with 500 bytes each of what went wrong. */
  leases: 1_048_576,
  /** As much as an answer of payloads: 1000 enqueues of 4 KiB, or 15 of the largest. */
  batch: 4_194_304,
  /** 1000 claim ids of 200 characters. */
  claimIds: 262_144,
} as const;

export const defaultHttpLimits: HttpLimits = {
  // Four times the largest acquire: 8192 bytes of metadata and 32 labels of 263 characters, escaped.
  bodyBytesMax: 65_536,
  // Two names of 200 characters, percent-encoded, are 1200.
  urlBytesMax: 8192,
  // Node's own default; it holds a longest URL and as much again of headers.
  headerBytesMax: 16_384,
  connectionsMax: 10_000,
  // A long-poll is silent for 60 s; half as much again before we call a connection dead.
  connectionTimeoutMs: 90_000,
  // The largest body in 30 s, 4 MiB, is slower than any client worth a socket.
  requestTimeoutMs: 30_000,
  headersTimeoutMs: 10_000,
  // Longer than the 60 s most load balancers keep a connection, so that they close first and never meet a reset.
  keepAliveTimeoutMs: 75_000,
  drainTimeoutMs: 10_000,
};
