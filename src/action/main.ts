import { acquireStep } from './acquire-step.ts';
import { releaseStep } from './release-step.ts';
import { runStep } from './step.ts';

/** `runs.main` of action.yml. The post step finds out by this state which of the two it follows. */
process.exitCode = await runStep(process.env, async (step) => {
  const { releaseWith } = step.inputs;
  step.runner.saveState('mode', releaseWith === undefined ? 'acquire' : 'release');
  await (releaseWith === undefined ? acquireStep(step) : releaseStep(step, releaseWith));
});
