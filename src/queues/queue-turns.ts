/** What keeps the operations of a queue waiting: a call under way, or, for a moment, the hope of company. */
interface Turn {
  /** Undefined until somebody waits. */
  over: Promise<void> | undefined;
  end: () => void;
  waiting: number;
  isUnderWay: boolean;
  /** What waits cannot free a place. */
  onlyAsks: boolean;
}

/** How long what was held up by a call waits, when that is over, for the release it may go with. */
const companyMs = 1;

/**
 * Whose turn it is in each queue: two calls of one replica never race for a line. What comes for a queue that is in a call
 * under way waits for its end, and all that waits goes on together, in the order it came. Where the queue was handed on and
 * only acquires and enqueues wait, they stay up to 1 ms longer: the new holder's release, if it is quick, frees a place for
 * all those that wait before them, and one call does both (measured: a call of its own for each acquire halves the grants/s
 * of a hot queue).
 */
export class QueueTurns {
  readonly #turns = new Map<string, Turn>();
  #waiting = 0;

  /** How many wait. */
  get waiting(): number {
    return this.#waiting;
  }

  /** A call with this queue goes out. False = there is one already. */
  take(queue: string): boolean {
    const turn = this.#turns.get(queue);
    if (turn?.isUnderWay) return false;
    if (turn !== undefined) this.#end(queue, turn);
    this.#turns.set(queue, { over: undefined, end: noOne, waiting: 0, isUnderWay: true, onlyAsks: true });
    return true;
  }

  /** The call with these queues is over. `isHandedOn`: somebody has got a place of the queue by it. */
  giveBack(queues: Iterable<string>, isHandedOn: (queue: string) => boolean): void {
    for (const queue of queues) {
      const turn = this.#turns.get(queue);
      if (turn === undefined) continue;
      turn.isUnderWay = false;
      if (turn.waiting > 0 && turn.onlyAsks && isHandedOn(queue)) {
        setTimeout(() => {
          if (this.#turns.get(queue) === turn) this.#end(queue, turn);
        }, companyMs);
      } else {
        this.#end(queue, turn);
      }
    }
  }

  /**
   * Resolves when the operation may be sent; undefined = at once. `asks`: it wants a place, so it cannot free one.
   */
  wait(queue: string, asks: boolean): Promise<void> | undefined {
    const turn = this.#turns.get(queue);
    if (turn === undefined) return undefined;
    if (!asks && !turn.isUnderWay) {
      this.#end(queue, turn);
      return undefined;
    }
    turn.onlyAsks &&= asks;
    turn.waiting++;
    this.#waiting++;
    turn.over ??= new Promise((resolve) => (turn.end = resolve));
    return turn.over;
  }

  #end(queue: string, turn: Turn): void {
    this.#turns.delete(queue);
    this.#waiting -= turn.waiting;
    turn.end();
  }
}

function noOne(): void {
  // Nobody waits.
}
