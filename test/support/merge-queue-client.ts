import { anId } from './http-client.ts';

/** What any call of /merge-queue may be answered with. */
export interface MergeBody {
  readonly request?: { head_sha: string; head_ref: string; priority: number; status: string };
  readonly stacked_pull_requests?: { number: number }[];
  readonly error?: string;
  readonly error_context?: string | { failed_field: string; tag: string; value: string }[];
  readonly code?: string;
  readonly fencing_token?: number;
  readonly [field: string]: unknown;
}

export interface MergeReply {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** Empty if the answer is plain text. */
  readonly body: MergeBody;
}

export interface AskOptions {
  readonly body?: unknown;
  /** The content type; null = none. */
  readonly type?: string | null;
  readonly authorization?: string;
  readonly signal?: AbortSignal;
}

/** A build as the original's action says it; the sha is `sha of <number>`. */
export function aBuild(number: number, more: Readonly<Record<string, unknown>> = {}) {
  return {
    head_sha: `sha of ${number}`,
    head_ref: `gh-readonly-queue/main/pr-${number}-abcdef0`,
    priority: number,
    ...more,
  };
}

/** A client of /merge-queue that sends what it is told and hides nothing. */
export class MergeQueueClient {
  readonly #url: string;

  constructor(url: string) {
    this.#url = url;
  }

  /** A body that is text or bytes is sent as it is. */
  async ask(method: string, path: string, options: AskOptions = {}): Promise<MergeReply> {
    const { body, type = 'json', authorization, signal } = options;
    const isRaw = typeof body === 'string' || body instanceof Uint8Array;
    const response = await fetch(this.#url + path, {
      method,
      headers: {
        ...(body === undefined || type === null ? {} : { 'content-type': type }),
        ...(authorization === undefined ? {} : { authorization }),
      },
      // fetch gives text a type of its own, but not bytes.
      ...(body === undefined ? {} : { body: Buffer.from(isRaw ? body : JSON.stringify(body)) }),
      ...(signal === undefined ? {} : { signal }),
    });
    const text = await response.text();
    const isJson = response.headers.get('content-type')?.includes('json') === true && text !== '';
    return {
      status: response.status,
      headers: response.headers,
      text,
      body: isJson ? (JSON.parse(text) as MergeBody) : {},
    };
  }

  acquire(queue: string, body: unknown, options: AskOptions = {}): Promise<MergeReply> {
    return this.ask('POST', `/merge-queue/${queue}/acquire`, { ...options, body });
  }

  release(queue: string, body: unknown, options: AskOptions = {}): Promise<MergeReply> {
    return this.ask('POST', `/merge-queue/${queue}/release`, { ...options, body });
  }

  renew(queue: string, body: unknown, options: AskOptions = {}): Promise<MergeReply> {
    return this.ask('POST', `/merge-queue/${queue}/renew`, { ...options, body });
  }

  show(queue: string): Promise<MergeReply> {
    return this.ask('GET', `/merge-queue/${queue}`);
  }
}

/** Owner, repository and base ref of a merge queue that nobody has used. */
export function aMergeQueue(): string {
  return `acme/${anId('shop')}/main`;
}
