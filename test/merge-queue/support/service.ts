import { MergeQueueCoordinator } from '../../../src/merge-queue/coordinator.ts';
import { MergeQueueDesk } from '../../../src/merge-queue/desk.ts';
import type { MergeQueueEvent } from '../../../src/merge-queue/machine/events.ts';
import { WaitingBuilds } from '../../../src/merge-queue/waiting-builds.ts';
import {
  type MergeAcquire,
  type MergeAnswer,
  type MergeQueueId,
  type MergeQueueSettings,
  type MergeRelease,
  type ReportedOutcome,
  mergeQueueId,
} from '../../../src/protocol/merge-queue.ts';
import { systemClock } from '../../../src/runtime/clock.ts';
import { Database } from '../../../src/store/database.ts';
import type { TestDatabase } from '../../support/database.ts';

/** As the original's end-to-end tests are configured: count 4, window 30 s, ttl 200 s, no delay. */
export const originalSettings: MergeQueueSettings = {
  stabilisation_ms: 30_000,
  ttl_ms: 200_000,
  expected_count: 4,
  delay_count: 0,
  hold_ttl_ms: null,
  success_completes: 'all',
  require_token: false,
  refused_acquire_updates: true,
};

export function aMergeQueue(baseRef = 'main'): MergeQueueId {
  const id = mergeQueueId('owner', 'repo', baseRef);
  if (id === undefined) throw new Error(`${baseRef} names no merge queue`);
  return id;
}

/** What stands between a replica and its database: may fail, wait, or run the statement. */
export type Intercept = (
  statement: { readonly sql: string; readonly parameters: readonly unknown[] },
  run: () => Promise<readonly unknown[]>,
) => Promise<readonly unknown[]>;

export interface ReplicaOptions {
  readonly settings?: Partial<MergeQueueSettings>;
  readonly autoCreate?: boolean;
  readonly intercept?: Intercept;
  /** Connections that somebody else closes. */
  readonly database?: Database;
  readonly decideWithinMs?: number;
  readonly pendingMax?: number;
}

/** The merge queues of one replica, without HTTP. It is told nothing by others: `room.wake` does what a message would. */
export interface MergeReplica extends AsyncDisposable {
  readonly queues: MergeQueueCoordinator;
  readonly desk: MergeQueueDesk;
  readonly room: WaitingBuilds;
  readonly database: Database;
  /** What it wrote, in order. */
  readonly events: MergeQueueEvent[];
}

export function openReplica(db: TestDatabase, options: ReplicaOptions = {}): MergeReplica {
  const database =
    options.database ?? new Database({ url: db.url, connectTimeoutMs: 5000, statementTimeoutMs: 20_000 });
  const { intercept } = options;
  const asked =
    intercept === undefined
      ? database
      : ({
          query: (...[lane, statement, ...rest]: Parameters<Database['query']>) =>
            intercept(statement, () => database.query(lane, statement, ...rest)),
        } as unknown as Database);
  const defaults = { ...originalSettings, ...options.settings };
  const autoCreate = options.autoCreate ?? true;
  const room = new WaitingBuilds();
  const events: MergeQueueEvent[] = [];
  const desk = new MergeQueueDesk({
    db: asked,
    clock: systemClock,
    defaults,
    autoCreate,
    decideWithinMs: options.decideWithinMs ?? 5000,
    pendingMax: options.pendingMax ?? 1000,
    onEvents: ({ name }, happened) => {
      events.push(...happened);
      room.wake(name);
    },
  });
  const queues = new MergeQueueCoordinator({
    db: asked,
    clock: systemClock,
    desk,
    room,
    defaults,
    autoCreate,
    onNews: ({ name }) => room.wake(name),
  });
  return {
    queues,
    desk,
    room,
    database,
    events,
    [Symbol.asyncDispose]: () => (options.database === undefined ? database.stop() : Promise.resolve()),
  };
}

export function headShaOf(build: number | string): string {
  return `sha${build}`;
}

export function headRefOf(build: number | string): string {
  return `gh-readonly-queue/main/pr-${typeof build === 'number' ? build : 1}-abcdef${typeof build === 'number' ? build : 0}`;
}

export type AcquireOptions = Partial<Omit<MergeAcquire, 'headSha'>> & { readonly signal?: AbortSignal };
export type ReleaseOptions = Partial<Omit<MergeRelease, 'headSha' | 'outcome'>>;

function aContext(signal?: AbortSignal) {
  return { receivedAtMs: systemClock.monotonicMs(), signal: signal ?? new AbortController().signal };
}

/**
 * Builds of one merge queue, named by numbers: build n has sha<n>, pull request n and, if nothing else is said, priority n.
 * Each call goes to the next of the replicas, so that none can answer from what it remembers.
 */
export class Builds {
  readonly id: MergeQueueId;
  readonly #replicas: readonly Pick<MergeReplica, 'queues'>[];
  #calls = 0;

  constructor(replicas: readonly Pick<MergeReplica, 'queues'>[], id = aMergeQueue()) {
    this.id = id;
    this.#replicas = replicas;
  }

  /** Whose turn it is. */
  next(): MergeQueueCoordinator {
    const replica = this.#replicas[this.#calls++ % this.#replicas.length];
    if (replica === undefined) throw new Error('there is no replica');
    return replica.queues;
  }

  async poll(build: number, { signal, ...options }: AcquireOptions = {}): Promise<MergeAnswer> {
    return known(
      await this.next().acquire(
        this.id,
        {
          headSha: headShaOf(build),
          headRef: headRefOf(build),
          priority: build,
          requestId: null,
          holdTtlMs: null,
          fencingToken: null,
          waitMs: 0,
          ...options,
        },
        aContext(signal),
      ),
    );
  }

  async release(build: number, outcome: ReportedOutcome, options: ReleaseOptions = {}): Promise<MergeAnswer> {
    return known(
      await this.next().release(
        this.id,
        {
          headSha: headShaOf(build),
          headRef: headRefOf(build),
          priority: build,
          outcome,
          fencingToken: null,
          ...options,
        },
        aContext(),
      ),
    );
  }

  async renew(build: number, fencingToken: number): Promise<MergeAnswer> {
    return known(await this.next().renew(this.id, { headSha: headShaOf(build), fencingToken }, aContext()));
  }

  /** The outcomes of polls by these builds, one after another. */
  async polls(...builds: readonly number[]): Promise<string[]> {
    const said: string[] = [];
    for (const build of builds) said.push(outcomeOf(await this.poll(build)));
    return said;
  }

  async show() {
    return known(await this.next().show(this.id));
  }

  async clear(actor?: string) {
    return known(await this.next().clear(this.id, actor));
  }

  /** The stored queue in short: who has it, and who is known, each as `<sha> <status>`. */
  async brief(): Promise<{ acquired: string | null; known: string[] }> {
    const { acquired, known: all } = await this.show();
    const brief = ({ request }: { request: { headSha: string; status: string } }) =>
      `${request.headSha} ${request.status}`;
    return { acquired: acquired === null ? null : brief(acquired), known: all.map(brief) };
  }
}

function known<Result>(result: Result | undefined): Result {
  if (result === undefined) throw new Error('unknown merge queue');
  return result;
}

/** The status of the build, or why the call was refused. */
export function outcomeOf(answer: MergeAnswer): string {
  return answer.kind === 'request' ? answer.request.status : answer.refusal;
}

export function tokenOf(answer: MergeAnswer): number {
  if (answer.kind !== 'request' || answer.grant === null) throw new Error(`no lease: ${outcomeOf(answer)}`);
  return answer.grant.fencingToken;
}

export function waitOf(answer: MergeAnswer) {
  if (answer.kind !== 'request' || answer.wait === null) throw new Error(`does not wait: ${outcomeOf(answer)}`);
  return answer.wait;
}

export function stackOf(answer: MergeAnswer): readonly number[] | null {
  return answer.kind === 'request' ? answer.stackedPullRequests : null;
}

/** Two replicas on one database and a merge queue whose calls alternate between them. */
export function twoReplicas(db: TestDatabase, options: ReplicaOptions = {}) {
  const replicas = [openReplica(db, options), openReplica(db, options)] as const;
  return {
    replicas,
    builds: new Builds(replicas),
    [Symbol.asyncDispose]: async () => {
      await Promise.all(replicas.map((replica) => replica[Symbol.asyncDispose]()));
    },
  };
}
