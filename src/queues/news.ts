import type { Announcer } from '../notifier/announcer.ts';
import type { TakerRoom } from '../notifier/taker-room.ts';
import type { WaitingRoom } from '../notifier/waiting-room.ts';
import type { ClaimKey, Decision } from '../store/decisions.ts';

export interface NewsOptions {
  readonly room: WaitingRoom;
  readonly takers: TakerRoom;
  readonly cleaners: TakerRoom;
  readonly announcer: Announcer;
  /** Something in this queue is due in so many ms. */
  readonly onDelayed: (queue: string, dueInMs: number) => void;
  /** These lines are to be advanced at once, together. */
  readonly onStir: (queues: readonly string[]) => void;
  readonly onDecisions: (decisions: readonly Decision[]) => void;
}

/**
 * Spreads what decisions did to claims: to clients waiting here from memory, to other replicas by notification. A run that
 * may be taken calls one worker, here if one waits here.
 */
export class News {
  readonly #options: NewsOptions;

  constructor(options: NewsOptions) {
    this.#options = options;
  }

  /** `sentAtMs`: when, on the monotonic clock, the statement that decided was sent. */
  spread(decisions: readonly Decision[], sentAtMs: number): void {
    const elsewhere: ClaimKey[] = [];
    const readyElsewhere: string[] = [];
    for (const decision of decisions) {
      const { code, item, queue, claim_id: claimId } = decision;
      if (code === 'ready') {
        if (!this.#options.takers.call(queue)) readyElsewhere.push(queue);
        continue;
      }
      for (const queues of stirredBy(decision)) this.#options.onStir(queues);
      const dueInMs = decision.body?.['due_in_ms'];
      if (typeof dueInMs === 'number') this.#options.onDelayed(queue, dueInMs);
      // Who waits to see a run taken is told here; on another replica its watch finds it.
      if (code === 'taken') this.#options.room.deliver({ decision: leaseOf(decision), sentAtMs });
      // It may have left its slot dirty; who cleans elsewhere finds it by a watch.
      if (endsAGrant.has(code)) this.#options.cleaners.call(queue);
      if (claimId === null || !endsAWait.has(code)) continue;
      const endsTheClaim = code === 'cancelled' || code === 'broken';
      // To who cancels or breaks it is an answer of its own; to who waits for the claim, the claim has ended.
      const news = endsTheClaim ? { ...decision, code: 'ended' } : decision;
      const deliveredHere = this.#options.room.deliver({ decision: news, sentAtMs });
      // What answers a caller is news only for a second client of the same claim, which finds it by its watch.
      if (!deliveredHere && item === null) elsewhere.push({ queue, claim_id: claimId });
      if (!deliveredHere && endsTheClaim) elsewhere.push({ queue, claim_id: claimId });
    }
    this.#options.onDecisions(decisions);
    this.#options.announcer.announceMoved(elsewhere);
    this.#options.announcer.announceReady(readyElsewhere);
  }

  /** What was read, not decided: it goes to clients waiting here and no further. */
  deliverHere(decisions: readonly Decision[], sentAtMs: number): void {
    for (const decision of decisions) {
      if (endsAWait.has(decision.code)) this.#options.room.deliver({ decision, sentAtMs });
    }
  }
}

/** What a run carries is for who takes it, not for who watches it. */
function leaseOf(decision: Decision): Decision {
  const body: Record<string, unknown> = { ...decision.body };
  delete body['payload'];
  delete body['max_attempts'];
  return { ...decision, code: 'held', body };
}

const endsAGrant = new Set(['released', 'ended', 'broken', 'returned']);

/** Lines that a decision leaves something for: what ends in one queue of a claim on several ends in the others too. */
function stirredBy({ code, body }: Decision): readonly (readonly string[])[] {
  if (body === null) return [];
  if (code === 'stir') return [body['queues'] as readonly string[]];
  if (!endsAClaim.has(code)) return [];
  const others = (body['also'] ?? []) as readonly { readonly queue: string }[];
  const primary = body['primary'] as string | undefined;
  return [...others.map(({ queue }) => [queue]), ...(primary === undefined ? [] : [[primary]])];
}

const endsAClaim = new Set(['released', 'ended', 'cancelled', 'broken']);
const endsAWait = new Set(['held', 'ended', 'cancelled', 'broken']);
