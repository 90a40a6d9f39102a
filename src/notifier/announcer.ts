import { setTimeout as sleep } from 'node:timers/promises';
import type { ReplicaId } from '../protocol/ids.ts';
import type { Service } from '../runtime/service.ts';
import type { Database } from '../store/database.ts';
import type { ClaimKey } from '../store/decisions.ts';
import { notify } from '../store/notifications.ts';
import { encodeMergeQueues, encodeMoved, encodeReady } from './messages.ts';

export interface AnnouncerOptions {
  readonly db: Database;
  readonly replicaId: ReplicaId;
  /** The pause after a NOTIFY; the next one gathers what happens meanwhile. */
  readonly gatherMs?: number;
  readonly onError: (error: unknown) => void;
}

/**
 * Tells other replicas which claims moved, which queues have runs to take and which merge queues moved, at most one gathered NOTIFY per ~10 ms, off the commit of the grant itself. It is
 * a hint: what is lost is found by the other replica's own watch within a second.
 */
export class Announcer implements Service {
  readonly name = 'announcer';
  readonly #options: AnnouncerOptions;
  readonly #moved = new Map<string, ClaimKey>();
  readonly #ready = new Set<string>();
  readonly #mergeQueues = new Set<string>();
  #sending: Promise<void> | undefined;
  #stopped = false;

  constructor(options: AnnouncerOptions) {
    this.#options = options;
  }

  start(): Promise<void> {
    return Promise.resolve();
  }

  /** Sends what is gathered, then takes no more. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#sending;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  announceMoved(keys: readonly ClaimKey[]): void {
    if (this.#stopped) return;
    for (const key of keys) this.#moved.set(`${key.queue}\n${key.claim_id}`, key);
    if (this.#moved.size > 0) this.#sending ??= this.#send();
  }

  announceReady(queues: readonly string[]): void {
    if (this.#stopped) return;
    for (const queue of queues) this.#ready.add(queue);
    if (this.#ready.size > 0) this.#sending ??= this.#send();
  }

  /** Something happened to this merge queue. */
  announceMergeQueue(queue: string): void {
    if (this.#stopped) return;
    this.#mergeQueues.add(queue);
    this.#sending ??= this.#send();
  }

  async #send(): Promise<void> {
    const { db, replicaId, onError } = this.#options;
    while (this.#moved.size + this.#ready.size + this.#mergeQueues.size > 0) {
      const payloads = [
        ...encodeMoved(replicaId, [...this.#moved.values()]),
        ...encodeReady(replicaId, [...this.#ready]),
        ...encodeMergeQueues(replicaId, [...this.#mergeQueues]),
      ];
      this.#moved.clear();
      this.#ready.clear();
      this.#mergeQueues.clear();
      await notify(db, payloads).catch(onError);
      // After the NOTIFY, not before it: the first of a burst is told at once, the rest of it together.
      await sleep(this.#options.gatherMs ?? 10);
    }
    this.#sending = undefined;
  }
}
