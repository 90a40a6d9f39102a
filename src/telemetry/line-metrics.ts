import { Gauge, type Registry } from 'prom-client';
import { within } from './within.ts';

/** How many wait for one reason, in all lines together. */
export interface LineNumbers {
  readonly waitingFor: string;
  readonly kind: 'claim' | 'run';
  readonly waiting: number;
  readonly oldestHeadMs: number;
}

/** A scrape waits so long for the database at most; then it answers without the numbers that are kept there. */
const readMsMax = 1000;

/** Who waits and why, read from the database at each scrape, so every replica says the same. */
export class LineMetrics {
  readonly #waiting: Gauge<'waiting_for' | 'kind'>;
  readonly #oldestHead: Gauge;
  #read: (() => Promise<readonly LineNumbers[]>) | undefined;
  #refreshing: Promise<void> | undefined;

  constructor(registry: Registry) {
    const registers = [registry];
    this.#waiting = new Gauge({
      name: 'signalbox_waiting',
      help: 'Claims and runs in line, by why they wait; of the first 1,000 queues with a line.',
      labelNames: ['waiting_for', 'kind'],
      registers,
    });
    this.#oldestHead = new Gauge({
      name: 'signalbox_oldest_head_wait_seconds',
      help: 'How long the head of a line has waited, where that is longest; 0 = nobody waits.',
      registers,
    });
  }

  /** Says where to read how the lines stand. */
  readWith(read: () => Promise<readonly LineNumbers[]>): void {
    this.#read = read;
  }

  /** Never throws, and never takes longer than a second: without an answer of the database there are no such gauges. */
  refresh(): Promise<void> {
    // Scrapes that come together ask once.
    return (this.#refreshing ??= this.#refresh().finally(() => (this.#refreshing = undefined)));
  }

  async #refresh(): Promise<void> {
    if (this.#read === undefined) return;
    const numbers = await within(readMsMax, this.#read());
    this.#waiting.reset();
    this.#oldestHead.remove();
    if (numbers === undefined) return;
    for (const { waitingFor, kind, waiting } of numbers) this.#waiting.set({ waiting_for: waitingFor, kind }, waiting);
    this.#oldestHead.set(Math.max(0, ...numbers.map(({ oldestHeadMs }) => oldestHeadMs)) / 1000);
  }
}
