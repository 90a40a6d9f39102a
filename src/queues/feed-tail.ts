import { Bell } from '../runtime/bell.ts';
import { isAborted } from '../runtime/pause.ts';
import type { Service } from '../runtime/service.ts';
import { Ticker } from '../runtime/ticker.ts';
import type { Database } from '../store/database.ts';
import { type EventCursor, type EventRow, newestEvent, readEvents } from '../store/events.ts';

export interface FeedTailOptions {
  readonly db: Database;
  readonly onError: (error: unknown) => void;
  /** The feed is for audit and dashboards, and nothing timely reads it. */
  readonly everyMs?: number;
}

/** Which events a reader waits for. */
export interface FeedInterest {
  readonly queue: string | undefined;
  /** '' = of all queues. */
  readonly prefix: string;
  /** All of these; undefined = whatever labels. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
}

/** A reader's place at the end of the feed. Leaving is idempotent. */
export interface TailSeat extends Disposable {
  /** Resolves when there may be news for the reader, when the time is over, or when `signal` aborts. */
  wait(options: { readonly timeoutMs: number; readonly signal: AbortSignal }): Promise<void>;
}

interface Reader {
  readonly interest: FeedInterest;
  readonly bell: Bell;
}

const pageSize = 1000;
/**
 * For so many looks readers are called for an event. One that reads right after the tail may see less than the tail has: when
 * transactions of other databases come and go, the end of the feed moves back for a moment (see `feed_horizon`).
 */
const callsPerEvent = 3;

/**
 * Looks for new events on behalf of all readers that wait on this replica, with one query a round however many they are, and
 * wakes those whose events came. A reader enters before it reads: what becomes visible after its read is news.
 */
export class FeedTail implements Service {
  readonly name = 'feed-tail';
  readonly #options: FeedTailOptions;
  readonly #ticker: Ticker;
  readonly #readers = new Set<Reader>();
  /** Undefined while nobody waits. */
  #cursor: EventCursor | undefined;
  /** What came with the last looks, the newest first. */
  #news: readonly (readonly EventRow[])[] = [];

  constructor(options: FeedTailOptions) {
    this.#options = options;
    this.#ticker = new Ticker({
      name: this.name,
      periodMs: options.everyMs ?? 500,
      runOnce: ({ signal }) => this.#look(signal),
      onError: options.onError,
    });
  }

  start(): Promise<void> {
    return this.#ticker.start();
  }

  stop(): Promise<void> {
    return this.#ticker.stop();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  /** How many readers wait. */
  get size(): number {
    return this.#readers.size;
  }

  enter(interest: FeedInterest): TailSeat {
    const reader: Reader = { interest, bell: new Bell() };
    this.#readers.add(reader);
    return {
      [Symbol.dispose]: () => this.#readers.delete(reader),
      wait: ({ timeoutMs, signal }) => reader.bell.wait(timeoutMs, signal),
    };
  }

  async #look(signal: AbortSignal): Promise<'again' | undefined> {
    const { db } = this.#options;
    if (this.#readers.size === 0) {
      this.#cursor = undefined;
      this.#news = [];
      return undefined;
    }
    if (this.#cursor === undefined) {
      this.#cursor = await newestEvent(db);
      // Those who came before this look cannot know what it has passed.
      for (const { bell } of this.#readers) bell.ring();
      return undefined;
    }
    const rows = await readEvents(db, this.#cursor, { queue: undefined, prefix: '', limit: pageSize });
    if (isAborted(signal)) return undefined;
    const last = rows.at(-1);
    if (last !== undefined) this.#cursor = { xid: last.cursor_xid, id: last.cursor_id };
    this.#news = [rows, ...this.#news].slice(0, callsPerEvent);
    for (const { bell, interest } of this.#readers)
      if (this.#news.some((some) => some.some((row) => concerns(row, interest)))) bell.ring();
    return rows.length === pageSize ? 'again' : undefined;
  }
}

function concerns({ queue, data }: EventRow, interest: FeedInterest): boolean {
  const labels = data['labels'] as Readonly<Record<string, string>> | undefined;
  for (const [name, value] of Object.entries(interest.labels ?? {})) if (labels?.[name] !== value) return false;
  if (interest.queue !== undefined) return queue === interest.queue;
  return interest.prefix === '' || queue?.startsWith(interest.prefix) === true;
}
