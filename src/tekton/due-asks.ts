import { told } from './annotations.ts';
import { byAge } from './pipeline-run.ts';
import type { TrackedRun } from './tracked-run.ts';

/** A run that could not be read again so often stands aside for the others of its queue. */
const stuckAfter = 3;

/**
 * The runs to ask about now, in the order in which the service is to put new ones in line: going ones first, then by age.
 *
 * Those that are not in line yet take turns in each queue, so that a restart changes no order: an older one that must be
 * read again first, because its claim has ended meanwhile, goes before a younger one; and those that an earlier gate
 * had in line go before those that nobody has asked for yet.
 */
export function dueAsks(runs: Iterable<TrackedRun>, nowMs: number): readonly TrackedRun[] {
  const due: TrackedRun[] = [];
  const lines = new Map<string, TrackedRun[]>();
  for (const tracked of runs) {
    if (!mayAsk(tracked)) continue;
    if (tracked.place.kind !== 'none' || tracked.life === 'going') {
      if (isDue(tracked, nowMs)) due.push(tracked);
    } else {
      const line = lines.get(tracked.queue);
      if (line === undefined) lines.set(tracked.queue, [tracked]);
      else line.push(tracked);
    }
  }
  for (const line of lines.values()) {
    const before = line.filter(wasInLine);
    for (const tracked of (before.length > 0 ? before : line).toSorted((a, b) => byAge(a.run, b.run))) {
      if (isDue(tracked, nowMs)) due.push(tracked);
      else if (tracked.stepFailures <= stuckAfter) break;
    }
  }
  return due.sort((a, b) => Number(b.life === 'going') - Number(a.life === 'going') || byAge(a.run, b.run));
}

/** Whether it is to be in the line of its queue, or is there. */
function mayAsk({ isGone, life, place, queue, demand }: TrackedRun): boolean {
  if (isGone || life === 'finished' || queue === '') return false;
  if (place.kind !== 'none' && place.kind !== 'waiting' && place.kind !== 'refused') return false;
  // Moved to another queue: it leaves the old one first. A going run stays where it is counted.
  return life === 'going' || demand?.queue === queue;
}

function isDue({ isBusy, mustReread, askAtMs }: TrackedRun, nowMs: number): boolean {
  return !isBusy && !mustReread && askAtMs <= nowMs;
}

function wasInLine({ run, attempt, stepFailures }: TrackedRun): boolean {
  return (attempt > 1 || run.annotations[told.claim] !== undefined) && stepFailures <= stuckAfter;
}
