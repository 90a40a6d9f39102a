import { stopKeeper } from './keeper.ts';
import type { LeaseRecord } from './lease-record.ts';
import { settle } from './release.ts';
import { tellSettled, within } from './release-step.ts';
import type { Step } from './step.ts';
import { inWords, timeLimit } from './time-limit.ts';

/** Of the five minutes a cancelled job has, other post steps need some. */
const postWithinMs = 2 * 60_000;

/** After the job's last step: a job that did not succeed gives the lease back by itself, one that did may leave it to a later job. */
export async function postStep(step: Step): Promise<void> {
  const { inputs, folder, service, runner } = step;
  const record = folder.readRecord();
  if (record === undefined || record.phase === 'completed' || record.phase === 'ended') return;
  const limit = timeLimit(Math.min(inputs.timeoutMs, postWithinMs), step.cancelled);
  // Of a job that never learnt whether it got the lease nobody else can give it back, a success (continue-on-error) or not.
  const isOver = inputs.jobStatus !== 'success' || record.phase === 'asking';
  const isToRelease = inputs.postRelease === 'always' || (inputs.postRelease === 'auto' && isOver);
  if (!isToRelease) {
    if (record.phase === 'acquired') await leaveHeld(step, record);
    return;
  }
  if (record.phase === 'acquired') runner.info(`The job ends (${inputs.jobStatus}) with the lease: releasing it`);
  // A release step whose answer did not come is tried again, and with its own words.
  const outcome = record.reported ?? inputs.jobStatus;
  const settled = await within(limit, step, () => settle(folder, record, outcome, { service, runner, limit }));
  // That a build which never got the lease has none is no news.
  if (settled.kind === 'nothing') runner.info(`Nothing to release: ${settled.why}`);
  else tellSettled(step, settled);
}

/** Another job is to release it: from here on nobody renews it, so it gets its whole time once more. */
async function leaveHeld(step: Step, record: LeaseRecord): Promise<void> {
  const { folder, service, runner, cancelled } = step;
  const report = await stopKeeper(folder, record);
  if (typeof report?.lost === 'string') {
    tellSettled(step, { kind: 'lost', why: report.lost });
    return;
  }
  if (record.fencingToken === null) {
    runner.notice('This job leaves the lease held: a later job must release it.');
    return;
  }
  const renewed = await service.renew(record.fencingToken, 10_000, cancelled);
  if (renewed.kind === 'lost') tellSettled(step, { kind: 'lost', why: renewed.why });
  else
    runner.notice(
      `This job leaves the lease held and nobody renews it any more: a later job must release it within ` +
        `${inWords(record.holdTtlMs)} (hold_ttl_seconds), with the fencing token ${record.fencingToken}.`,
    );
}
