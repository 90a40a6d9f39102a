import type { WaitingClaim } from '../../protocol/claims.ts';
import { inWords } from '../duration.ts';

const reasons: Readonly<Record<WaitingClaim['waiting_for'], string>> = {
  no_free_slot: 'no free slot',
  behind_others: 'behind others',
  paused: 'the queue is paused',
  limit_zero: 'the limit is 0',
  lock_delay: 'lock delay after a lost lease',
  cleanup: 'a free place is being cleaned, or is to be',
  other_queue: 'another queue',
  not_before: 'not due yet',
  quarantine: 'quarantine after a failover of the database',
  taker: 'a worker must take it',
  blocked: 'a run that failed stops the line',
};

/** Turns looks at the line into lines for a person: one per change of position or reason. */
export function waitingLines(queue: string, say: (line: string) => void): (claim: WaitingClaim) => void {
  let last = '';
  return (claim) => {
    const { position, queue_depth: depth, waiting_for: reason, blocked_by: blockers } = claim;
    // An earlier service makes no guess.
    const guessMs = (claim as Partial<WaitingClaim>).estimated_wait_ms ?? undefined;
    const key = `${position} ${reason}`;
    if (key === last) return;
    last = key;
    const other = claim.waiting_for_queue;
    const why =
      other === undefined ? ((reasons as Readonly<Record<string, string>>)[reason] ?? reason) : `for queue ${other}`;
    const [first, ...others] = blockers.map(({ holder }) => holder);
    const held =
      first === undefined ? '' : `, held by ${first}${others.length > 0 ? ` and ${others.length} more` : ''}`;
    const guess = guessMs === undefined ? '' : `, about ${inWords(guessMs)} to go`;
    say(`waiting for a place in ${queue}: position ${position} of ${depth}, ${why}${held}${guess}`);
  };
}
