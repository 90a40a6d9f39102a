import { Webhook } from 'standardwebhooks';

/** What came of one attempt. Texts say nothing of the URL, nor of what the receiver answered. */
export type SendOutcome =
  | { readonly kind: 'delivered'; readonly status: number }
  /** 410: the receiver wants no more. */
  | { readonly kind: 'gone'; readonly status: number; readonly error: string }
  | {
      readonly kind: 'failed';
      readonly status: number | null;
      readonly error: string;
      /** What the receiver asked for. */
      readonly retryAfterMs: number | undefined;
    };

export interface Message {
  readonly url: string;
  readonly secret: string;
  readonly messageId: string;
  readonly body: string;
}

/** What is read of an answer, so that its connection can be used again; nothing looks at it. */
const answerBytesMax = 64 * 1024;

/**
 * One signed POST, as Standard Webhooks says; redirects are not followed. Never rejects, but for `signal`, with which the
 * attempt is given up and its outcome unknown.
 */
export async function send(
  { url, secret, messageId, body }: Message,
  { timeoutMs, signal }: { readonly timeoutMs: number; readonly signal: AbortSignal },
): Promise<SendOutcome> {
  const now = new Date();
  const timeout = AbortSignal.timeout(timeoutMs);
  try {
    const response = await fetch(url, {
      method: 'POST',
      redirect: 'manual',
      signal: AbortSignal.any([signal, timeout]),
      headers: {
        'content-type': 'application/json',
        'user-agent': 'signalbox',
        'webhook-id': messageId,
        'webhook-timestamp': String(Math.floor(now.getTime() / 1000)),
        'webhook-signature': new Webhook(secret).sign(messageId, now, body),
      },
      body,
    });
    await drain(response);
    return outcomeOf(response, now);
  } catch (error) {
    signal.throwIfAborted();
    const why = timeout.aborted ? `no answer within ${timeoutMs} ms` : `no answer: ${reasonOf(error)}`;
    return { kind: 'failed', status: null, error: why, retryAfterMs: undefined };
  }
}

function outcomeOf({ status, headers }: Response, now: Date): SendOutcome {
  if (status >= 200 && status < 300) return { kind: 'delivered', status };
  if (status === 410) return { kind: 'gone', status, error: 'answered 410: it wants no more' };
  const isRedirect = status >= 300 && status < 400;
  return {
    kind: 'failed',
    status,
    error: isRedirect ? `answered ${status}: redirects are not followed` : `answered ${status}`,
    retryAfterMs: readRetryAfter(headers.get('retry-after'), now),
  };
}

/** Seconds or a date, in ms from now; undefined = not said, or not readable. */
function readRetryAfter(header: string | null, now: Date): number | undefined {
  if (header === null) return undefined;
  if (/^[0-9]{1,9}$/.test(header.trim())) return Number(header) * 1000;
  const at = Date.parse(header);
  return Number.isNaN(at) ? undefined : Math.max(0, at - now.getTime());
}

async function drain({ body }: Response): Promise<void> {
  if (body === null) return;
  let bytes = 0;
  try {
    for await (const chunk of body as ReadableStream<Uint8Array>) {
      bytes += chunk.byteLength;
      if (bytes > answerBytesMax) break;
    }
  } catch {
    // The status has come, and it is all that counts.
  }
}

function reasonOf(error: unknown): string {
  const cause = error instanceof Error ? error.cause : undefined;
  if (cause instanceof Error && 'code' in cause && typeof cause.code === 'string') return cause.code;
  // fetch has a list of ports that it goes to for nobody; the rest of its words may hold the URL, and with it a secret.
  return cause instanceof Error && cause.message === 'bad port'
    ? 'fetch does not go to this port'
    : 'the request failed';
}
