import { randomInt } from 'node:crypto';
import { appendFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { RetryLater, SignalboxClient, Worker } from '../../src/client/index.ts';

/**
 * A process of several workers, each with concurrency 1, for the scenario of streams. Arguments: service URL, prefix, ttl in
 * ms, how many workers, file of the record. One line is written when an item begins and one when it ends, each with the
 * wall clock, before anything is reported: `begin|end <ms> <queue> <claim> <token> <attempt>`.
 */
const [url = '', prefix = '', ttlMs = '', workers = '', file = ''] = process.argv.slice(2);

class Hiccup extends Error {}

/** The same for all processes of this machine, to within a millisecond. */
const wallClockMs = () => performance.timeOrigin + performance.now();

const client = new SignalboxClient({ url });
const own = Array.from(
  { length: Number(workers) },
  () =>
    new Worker({
      client,
      prefix,
      ttlMs: Number(ttlMs),
      waitMs: 5000,
      rules: [{ error: Hiccup, outcome: 'retry', retryAfterMs: 20 }],
      handler: async ({ queue, claim_id: claimId, fencing_token: token, attempt }, { signal }) => {
        const note = (what: string) =>
          appendFileSync(file, `${what} ${wallClockMs()} ${queue} ${claimId} ${token} ${attempt}\n`);
        note('begin');
        await sleep(randomInt(11), undefined, { signal });
        note('end');
        const luck = randomInt(20);
        if (luck === 0) throw new Hiccup('unlucky');
        if (luck === 1) throw new RetryLater(0);
      },
    }),
);
for (const worker of own) await worker.start();
process.stdout.write('working\n');
process.once('SIGTERM', () => {
  void Promise.all(own.map((worker) => worker.stop({ graceMs: 1000 })));
});
