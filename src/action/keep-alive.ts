import { backoffMs, jittered } from '../runtime/backoff.ts';
import { readInputs } from './inputs.ts';
import { isAlive } from './keeper.ts';
import { LeaseService, type RenewOutcome } from './lease-service.ts';
import { LeaseFolder } from './lease-record.ts';
import { readMergeGroup } from './merge-group.ts';
import { pause } from './time-limit.ts';

/**
 * Renews the lease of the build until told to stop, in a process of its own. It prints nothing: no step shows its output.
 * What it learns is in its report. A service that does not answer is asked again for as long as the job lasts; whether the
 * lease has lapsed meanwhile, the service alone knows.
 */
const env = process.env;
const inputs = readInputs(env);
const group = readMergeGroup(env);
const service = new LeaseService(inputs, group);
const folder = LeaseFolder.of(env, inputs, group);
const record = folder.readRecord();
const [, , keeper = '', runner = ''] = process.argv;

const stopped = new AbortController();
setInterval(() => {
  if (folder.isToStop(keeper) || (runner !== '' && !isAlive(Number(runner)))) stopped.abort();
}, 200).unref();

let renewals = 0;
const report = (lost: string | null, hasStopped: boolean) => {
  try {
    folder.writeReport(keeper, { pid: process.pid, renewals, lost, hasStopped });
  } catch {
    // The folder has gone with the job.
    stopped.abort();
  }
};

// A job that asked once more before this process was up has another one by now.
const isKeeper = record?.phase === 'acquired' && record.keeper === keeper && !folder.isToStop(keeper);
if (isKeeper && record.fencingToken !== null && record.renewEveryMs !== null) {
  report(null, false);
  const lost = await keepAlive(record.fencingToken, record.renewEveryMs).catch(() => null);
  report(lost, true);
}

/** Why the lease was lost; null when told to stop. */
async function keepAlive(fencingToken: number, everyMs: number): Promise<string | null> {
  const endsAtMs = performance.now() + inputs.maxHoldMs;
  for (let failures = 0; ;) {
    if (performance.now() > endsAtMs) return 'it was held for as long as max_hold_minutes allows';
    const waitMs =
      failures === 0 ? everyMs : Math.min(everyMs, backoffMs(failures - 1, { firstMs: 500, maxMs: 10_000 }));
    await pause(jittered(waitMs, 0.05), stopped.signal);
    const outcome: RenewOutcome = await service.renew(
      fencingToken,
      Math.max(1000, Math.min(everyMs, 10_000)),
      stopped.signal,
    );
    // A release took it while this call was out: that is no loss.
    if (stopped.signal.aborted || folder.isToStop(keeper)) return null;
    if (outcome.kind === 'lost') return outcome.why;
    failures = outcome.kind === 'renewed' ? 0 : failures + 1;
    if (outcome.kind === 'renewed') renewals++;
    if (outcome.kind === 'renewed') report(null, false);
  }
}
