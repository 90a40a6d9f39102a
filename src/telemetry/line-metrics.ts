import { Gauge, type Registry } from 'prom-client';
import { ScrapeRead } from './scrape-read.ts';

/** How many wait for one reason, in all lines together. */
export interface LineNumbers {
  readonly waitingFor: string;
  readonly kind: 'claim' | 'run';
  readonly waiting: number;
  readonly oldestHeadMs: number;
}

/** How the lines stand. */
export interface LinesNumbers {
  readonly waiting: readonly LineNumbers[];
  /** Slots of all queues that wait for a cleaner. */
  readonly dirty: number;
}

/** Who waits and why, and what waits for cleaners, read from the database at each scrape, so every replica says the same. */
export class LineMetrics {
  readonly #waiting: Gauge<'waiting_for' | 'kind'>;
  readonly #oldestHead: Gauge;
  readonly #dirty: Gauge;
  readonly #numbers = new ScrapeRead<LinesNumbers>((numbers) => this.#show(numbers));

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
    this.#dirty = new Gauge({
      name: 'signalbox_dirty_slots',
      help: 'Slots of queues with clean-up that wait for a cleaner.',
      registers,
    });
  }

  /** Says where to read how the lines stand. */
  readWith(read: () => Promise<LinesNumbers>): void {
    this.#numbers.readWith(read);
  }

  /** Never throws, and never takes longer than a second: without an answer of the database there are no such gauges. */
  refresh(): Promise<void> {
    return this.#numbers.refresh();
  }

  #show(numbers: LinesNumbers | undefined): void {
    this.#waiting.reset();
    for (const gauge of [this.#oldestHead, this.#dirty]) gauge.remove();
    if (numbers === undefined) return;
    for (const { waitingFor, kind, waiting } of numbers.waiting)
      this.#waiting.set({ waiting_for: waitingFor, kind }, waiting);
    this.#oldestHead.set(Math.max(0, ...numbers.waiting.map(({ oldestHeadMs }) => oldestHeadMs)) / 1000);
    this.#dirty.set(numbers.dirty);
  }
}
