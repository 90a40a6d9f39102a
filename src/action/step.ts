import { type Inputs, readInputs, secretsOf } from './inputs.ts';
import { LeaseFolder } from './lease-record.ts';
import { LeaseService } from './lease-service.ts';
import { type MergeGroup, readMergeGroup } from './merge-group.ts';
import { ActionProblem, Cancelled } from './problem.ts';
import { type Environment, type Runner, runnerOf } from './runner.ts';

/** All a step works with. */
export interface Step {
  readonly env: Environment;
  readonly inputs: Inputs;
  readonly group: MergeGroup;
  readonly service: LeaseService;
  readonly folder: LeaseFolder;
  readonly runner: Runner;
  /** Aborted with `Cancelled` when the runner ends the step: SIGINT, SIGTERM 7.5 s later, a kill 2.5 s later. */
  readonly cancelled: AbortSignal;
}

/** Does the work of a step and gives its exit code. What it throws is told in red. */
export async function runStep(env: Environment, work: (step: Step) => Promise<void>): Promise<number> {
  const runner = runnerOf(env, (text) => process.stdout.write(text));
  for (const secret of secretsOf(env)) runner.mask(secret);
  const cancelling = new AbortController();
  const cancel = () => cancelling.abort(new Cancelled());
  process.on('SIGINT', cancel).on('SIGTERM', cancel);
  try {
    const inputs = readInputs(env);
    const group = readMergeGroup(env);
    const service = new LeaseService(inputs, group);
    const folder = LeaseFolder.of(env, inputs, group);
    await work({ env, inputs, group, service, folder, runner, cancelled: cancelling.signal });
    return 0;
  } catch (error) {
    if (error instanceof ActionProblem) runner.error(error.message);
    else
      runner.error(`Defect in the action: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
    return 1;
  } finally {
    process.off('SIGINT', cancel).off('SIGTERM', cancel);
  }
}
