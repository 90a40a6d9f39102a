import type { Measure } from '../rig.ts';
import { growth } from './growth.ts';
import { pairs } from './pairs.ts';
import { renewals } from './renewals.ts';

/** In the order in which they run. */
export const allMeasures: readonly Measure[] = [pairs, growth, renewals];
