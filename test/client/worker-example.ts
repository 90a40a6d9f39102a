// Others import from 'signalbox/client'.
import { PermanentFailure, SignalboxClient, Worker } from '../../src/client/index.ts';

class RateLimitedError extends Error {}

/** A complete small program: mails are enqueued, a worker sends them two at a time, one of them in its second attempt. */
export async function workerExample(url: string): Promise<string[]> {
  const seen: string[] = [];
  const sendMail = (to: string, signal: AbortSignal): Promise<number> => {
    signal.throwIfAborted();
    return Promise.resolve(seen.push(`mail to ${to}`));
  };
  // README
  const client = new SignalboxClient({ url });
  await client.configureQueue('mail', { concurrency_limit: 2 });
  const recipients = ['ann', 'bob', 'cleo'];
  for (const to of recipients) {
    // The id makes it one run, however often this program is started.
    await client.enqueue('mail', { claim_id: `welcome:${to}`, payload: { to } });
  }

  await using worker = new Worker({
    client,
    queue: 'mail',
    concurrency: 2,
    // What a class of errors means; after any other the run is retried with the queue's backoff.
    rules: [{ error: RateLimitedError, outcome: 'retry', retryAfterMs: 100 }],
    handler: ({ payload }, { signal, attempt }) => {
      const { to } = payload as { readonly to?: string };
      if (to === undefined) throw new PermanentFailure('nobody to send it to');
      if (to === 'bob' && attempt === 1) throw new RateLimitedError('too many mails');
      // The signal aborts when the lease is lost, when the run is cancelled, and when the worker stops.
      return sendMail(to, signal);
    },
  });
  const allSent = new Promise<void>((resolve) => {
    let left = recipients.length;
    worker.on('ended', () => --left === 0 && resolve());
  });
  worker.on('retried', (run, { state }) => seen.push(`${run.claim_id} is ${state}`));
  await worker.start();
  await allSent;
  // Takes nothing more, lets handlers finish, gives back what is left.
  await worker.stop({ graceMs: 20_000 });
  // README
  return seen;
}
