import type { Measure } from '../rig.ts';
import { batchCalls } from './batch-calls.ts';
import { growth } from './growth.ts';
import { handOff } from './hand-off.ts';
import { hotQueue } from './hot-queue.ts';
import { limit } from './limit.ts';
import { longPolls } from './long-polls.ts';
import { pairs } from './pairs.ts';
import { pinnedSnapshot } from './pinned-snapshot.ts';
import { renewals } from './renewals.ts';
import { runs } from './runs.ts';

/** In the order in which they run: should time run out, the last are left out. */
export const allMeasures: readonly Measure[] = [
  pairs,
  batchCalls,
  growth,
  renewals,
  handOff,
  hotQueue,
  longPolls,
  pinnedSnapshot,
  limit,
  runs,
];
