import type { Coordinator } from '../protocol/coordinator.ts';
import type { ReplicaId } from '../protocol/ids.ts';
import type { Database } from '../store/database.ts';
import { Claims, type ClaimsOptions } from './claims.ts';
import { Cleanings, type CleaningsOptions } from './cleanings.ts';
import { DeadLetters } from './dead-letters.ts';
import { type FeedOptions, readFeed } from './event-feed.ts';
import { acceptLastFailover, readOrchestrator } from './orchestrator-view.ts';
import { Queues, type QueuesOptions } from './queues.ts';
import { Runs } from './runs.ts';
import { Takes, type TakesOptions } from './takes.ts';

export interface QueueCoordinatorOptions
  extends ClaimsOptions, QueuesOptions, TakesOptions, CleaningsOptions, FeedOptions {
  readonly db: Database;
  readonly replicaId: ReplicaId;
}

/** All verbs a client may ask for, in one place: what the HTTP routes call. */
export class QueueCoordinator implements Coordinator {
  readonly #claims: Claims;
  readonly #queues: Queues;
  readonly #deadLetters: DeadLetters;
  readonly #runs: Runs;
  readonly #takes: Takes;
  readonly #cleanings: Cleanings;
  readonly #options: QueueCoordinatorOptions;

  constructor(options: QueueCoordinatorOptions) {
    this.#options = options;
    this.#claims = new Claims(options);
    this.#queues = new Queues(options);
    this.#deadLetters = new DeadLetters(options);
    this.#runs = new Runs(options);
    this.#takes = new Takes(options);
    this.#cleanings = new Cleanings(options);
  }

  acquire: Coordinator['acquire'] = (queue, body, context) => this.#claims.acquire(queue, body, context);
  getClaim: Coordinator['getClaim'] = (queue, claimId, waitMs, context) =>
    this.#claims.getClaim(queue, claimId, waitMs, context);
  renew: Coordinator['renew'] = (queue, claimId, body, context) => this.#claims.renew(queue, claimId, body, context);
  release: Coordinator['release'] = (queue, claimId, body) => this.#claims.release(queue, claimId, body);
  cancel: Coordinator['cancel'] = (queue, claimId, context) => this.#claims.cancel(queue, claimId, context);
  break: Coordinator['break'] = (queue, claimId, body) => this.#claims.break(queue, claimId, body);
  enqueue: Coordinator['enqueue'] = (queue, request, context) => this.#runs.enqueue(queue, request, context);
  take: Coordinator['take'] = (body, context) => this.#takes.take(body, context);
  clean: Coordinator['clean'] = (queue, body, context) => this.#cleanings.clean(queue, body, context);
  renewHeld: Coordinator['renewHeld'] = (holder, body, prefix, context) =>
    this.#runs.renewHeld(holder, body, prefix, context);
  releaseHeld: Coordinator['releaseHeld'] = (holder, claims) => this.#runs.releaseHeld(holder, claims);
  listDeadLetters: Coordinator['listDeadLetters'] = (page) => this.#deadLetters.list(page);
  redriveDeadLetters: Coordinator['redriveDeadLetters'] = (queue, body) => this.#deadLetters.redrive(queue, body);
  purgeDeadLetters: Coordinator['purgeDeadLetters'] = (queue, body) => this.#deadLetters.purge(queue, body);
  listBlocked: Coordinator['listBlocked'] = (page) => this.#deadLetters.listBlocked(page);
  unblockQueue: Coordinator['unblockQueue'] = (queue, body) => this.#deadLetters.unblock(queue, body);
  retryRun: Coordinator['retryRun'] = (queue, claimId, body) => this.#deadLetters.retry(queue, claimId, body);
  skipRun: Coordinator['skipRun'] = (queue, claimId, body) => this.#deadLetters.skip(queue, claimId, body);
  configureQueue: Coordinator['configureQueue'] = (queue, change, options) =>
    this.#queues.configure(queue, change, options);
  getQueue: Coordinator['getQueue'] = (queue) => this.#queues.get(queue);
  listQueues: Coordinator['listQueues'] = (options) => this.#queues.list(options);
  deleteQueue: Coordinator['deleteQueue'] = (queue, options) => this.#queues.delete(queue, options);
  checkToken: Coordinator['checkToken'] = (queue, token, slot) => this.#queues.checkToken(queue, token, slot);
  readEvents: Coordinator['readEvents'] = (request, context) => readFeed(this.#options, request, context);
  orchestrator: Coordinator['orchestrator'] = () => readOrchestrator(this.#options.db, this.#options.replicaId);
  acceptFailover: Coordinator['acceptFailover'] = (body) => acceptLastFailover(this.#options.db, body);
}
