import { postStep } from './post-step.ts';
import { runStep } from './step.ts';

/** `runs.post` of action.yml. Where main failed before it asked for anything, and after a release, there is nothing to do. */
if (process.env['STATE_mode'] === 'acquire') process.exitCode = await runStep(process.env, postStep);
