import { Elector, type ElectorOptions } from '../../src/leadership/elector.ts';
import type { LeadershipEvent, TermEndReason } from '../../src/leadership/events.ts';
import type { TermContext } from '../../src/leadership/term-runner.ts';
import type { Epoch, ReplicaId } from '../../src/protocol/ids.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import type { Service } from '../../src/runtime/service.ts';
import { Database } from '../../src/store/database.ts';
import { freshDatabase, type TestDatabase } from './database.ts';
import { until } from './until.ts';

/** What a service of a test's term did, and when (monotonic). */
export interface RecordedService {
  readonly context: TermContext;
  startedAtMs: number | undefined;
  stoppedAtMs: number | undefined;
}

export interface TestElector {
  readonly elector: Elector;
  readonly replicaId: ReplicaId;
  readonly events: LeadershipEvent[];
  /** One per term. */
  readonly services: RecordedService[];
  /** Waits until it leads; the epoch. */
  readonly leads: () => Promise<Epoch>;
  /** Waits for the end of its latest term; why. */
  readonly termEnded: () => Promise<TermEndReason>;
}

/** A database and any number of electors on it. Disposing stops them. */
export class ElectionRig implements AsyncDisposable {
  readonly database: TestDatabase;
  readonly #resources = new AsyncDisposableStack();

  private constructor(database: TestDatabase) {
    this.database = this.#resources.use(database);
  }

  static async make(): Promise<ElectionRig> {
    return new ElectionRig(await freshDatabase());
  }

  /** Lanes of their own, as a replica has them. */
  lanes(url = this.database.url): Database {
    return this.#resources.use(new Database({ url, connectTimeoutMs: 1000, statementTimeoutMs: 3000 }));
  }

  elector(name: string, options: Partial<ElectorOptions> = {}): TestElector {
    const replicaId = `${name}:1:test` as ReplicaId;
    const events: LeadershipEvent[] = [];
    const services: RecordedService[] = [];
    const elector = new Elector({
      db: options.db ?? this.lanes(),
      replicaId,
      leaseMs: 1500,
      clock: systemClock,
      services: (context) => [recordingService(context, services)],
      onEvent: (event) => events.push(event),
      ...options,
    });
    this.#resources.use(elector);
    const ended = () => events.findLast((event) => event.kind === 'term.ended');
    return {
      elector,
      replicaId,
      events,
      services,
      leads: () => until(() => elector.status().epoch, { what: `${name} leads` }),
      termEnded: async () => (await until(ended, { what: `the term of ${name} ends` })).reason,
    };
  }

  async row(): Promise<{ leader: string; epoch: number; fresh: boolean }> {
    const { rows } = await this.database.query<{ leader: string; epoch: string; fresh: boolean }>(
      'select leader, epoch, expires_at > signalbox.clock() as fresh from signalbox.orchestrator_lock',
    );
    const [row] = rows;
    // The first campaign makes it.
    return row === undefined ? { leader: '', epoch: 0, fresh: false } : { ...row, epoch: Number(row.epoch) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources.disposeAsync();
  }
}

function recordingService(context: TermContext, into: RecordedService[]): Service {
  const record: RecordedService = { context, startedAtMs: undefined, stoppedAtMs: undefined };
  into.push(record);
  const stop = async () => {
    record.stoppedAtMs ??= performance.now();
  };
  return {
    name: 'recorded',
    start: async () => {
      record.startedAtMs = performance.now();
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}
