import { readFileSync, readdirSync } from 'node:fs';
import { until } from '../until.ts';

/** Ends what steps left running, as the runner finds it: by RUNNER_TRACKING_ID in its environment. Gives the pids. */
export async function endOrphans(trackingId: string): Promise<number[]> {
  const pids = withTrackingId(trackingId);
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // Ended by itself.
    }
  }
  await until(() => withTrackingId(trackingId).length === 0, { what: 'nothing of the job runs' });
  return pids;
}

function withTrackingId(trackingId: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0').includes(`RUNNER_TRACKING_ID=${trackingId}`);
      } catch {
        return false;
      }
    })
    .map(Number);
}
