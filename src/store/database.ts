import { Kysely, PostgresAdapter, PostgresIntrospector, PostgresQueryCompiler, DummyDriver } from 'kysely';
import pg from 'pg';
import type { Service } from '../runtime/service.ts';
import { PoolConnections } from './connections.ts';
import { DatabaseTimeoutError, NoConnectionFreeError, connectionFailure } from './failures.ts';
import type { Tables } from './tables.ts';

/**
 * Connections are kept apart by what may hold them up. Decisions wait for line locks, one contended queue after another;
 * a renewal behind them would cost a lease, a read behind them would hide what is going on. The leader's
 * own renewal never waits for its sweeps.
 */
export type Lane = 'decide' | 'contended' | 'renew' | 'read' | 'lead' | 'sweep';

export interface DatabaseOptions {
  readonly url: string;
  /** Connections per lane. */
  readonly connections?: Partial<Record<Lane, number>>;
  /** Give up on getting a connection after this long. */
  readonly connectTimeoutMs: number;
  /** Give up on a statement's answer after this long. */
  readonly statementTimeoutMs: number;
  /** An idle connection broke: nothing was lost, the next call opens another. */
  readonly onIdleError?: (error: Error) => void;
}

const defaultConnections: Record<Lane, number> = { decide: 2, contended: 4, renew: 2, read: 4, lead: 1, sweep: 2 };

/** Compiles SQL without running it: results come through the lanes, whatever wrote the statement. */
export const compiler = new Kysely<Tables>({
  dialect: {
    createAdapter: () => new PostgresAdapter(),
    createDriver: () => new DummyDriver(),
    createIntrospector: (db) => new PostgresIntrospector(db),
    createQueryCompiler: () => new PostgresQueryCompiler(),
  },
});

/**
 * The pools. Every call is one statement in autocommit on whatever connection is free, with no session state, no
 * named statement: it works the same through a transaction pooler. Reconnecting is implicit: a broken connection is
 * thrown away and the next call opens a new one.
 */
export class Database implements Service {
  readonly name = 'database';
  readonly #options: DatabaseOptions;
  readonly #pools: Record<Lane, pg.Pool>;
  readonly #connections = new PoolConnections();
  #stopped: Promise<void> | undefined;

  constructor(options: DatabaseOptions) {
    this.#options = options;
    const pool = (lane: Lane) => this.#pool(lane);
    this.#pools = {
      decide: pool('decide'),
      contended: pool('contended'),
      renew: pool('renew'),
      read: pool('read'),
      lead: pool('lead'),
      sweep: pool('sweep'),
    };
  }

  start(): Promise<void> {
    return Promise.resolve();
  }

  /** Callers have their answers by then; what is still under way after a second is cut off. */
  stop(): Promise<void> {
    this.#stopped ??= this.#connections.end(Object.values(this.#pools));
    return this.#stopped;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  /** Connections by lane: in all, idle, and callers waiting for one. */
  usage(): Record<Lane, { total: number; idle: number; waiting: number }> {
    const of = ({ totalCount, idleCount, waitingCount }: pg.Pool) => ({
      total: totalCount,
      idle: idleCount,
      waiting: waitingCount,
    });
    const { decide, contended, renew, read, lead, sweep } = this.#pools;
    return {
      decide: of(decide),
      contended: of(contended),
      renew: of(renew),
      read: of(read),
      lead: of(lead),
      sweep: of(sweep),
    };
  }

  /**
   * Runs one statement. Throws `pg.DatabaseError`, `DatabaseTimeoutError` or `DatabaseUnavailableError`; `failureKind`
   * sorts them. After the last two its outcome is unknown.
   */
  async query<Row>(
    lane: Lane,
    statement: { readonly sql: string; readonly parameters: readonly unknown[] },
    options: { readonly timeoutMs?: number } = {},
  ): Promise<readonly Row[]> {
    const client = await this.#connect(lane);
    const timeoutMs = options.timeoutMs ?? this.#options.statementTimeoutMs;
    let timer: NodeJS.Timeout | undefined;
    try {
      const timeout = new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(new DatabaseTimeoutError(timeoutMs)), timeoutMs);
      });
      const running = client.query(statement.sql, [...statement.parameters]);
      const { rows } = await Promise.race([running, timeout]);
      client.release();
      return rows as Row[];
    } catch (error) {
      // Only an answer from the server says that the connection is still good.
      client.release(!(error instanceof pg.DatabaseError) || endsConnection(error));
      throw connectionFailure(error);
    } finally {
      clearTimeout(timer);
    }
  }

  async #connect(lane: Lane): Promise<pg.PoolClient> {
    const pool = this.#pools[lane];
    try {
      return await pool.connect();
    } catch (error) {
      // A refused or broken connection has a code; the pool's own waiting time, when it is over, has none.
      const isWaitOver = !(error instanceof Error && 'code' in error);
      if (isWaitOver && pool.totalCount >= pool.options.max) throw new NoConnectionFreeError(lane);
      throw connectionFailure(error);
    }
  }

  #pool(lane: Lane): pg.Pool {
    const pool = new pg.Pool({
      Client: this.#connections.Client,
      connectionString: this.#options.url,
      application_name: `signalbox ${lane}`,
      max: this.#options.connections?.[lane] ?? defaultConnections[lane],
      connectionTimeoutMillis: this.#options.connectTimeoutMs,
      idleTimeoutMillis: 60_000,
      keepAlive: true,
      allowExitOnIdle: false,
    });
    pool.on('error', (error) => this.#options.onIdleError?.(error));
    // A client that is checked out reports through its query; without a listener its 'error' event would end the process.
    pool.on('connect', (client) => client.on('error', () => undefined));
    return pool;
  }
}

/** SQLSTATE 57P (shutting down, cut off) and 08: the server said so and closed the connection. */
function endsConnection({ code }: pg.DatabaseError): boolean {
  return code !== undefined && /^(08|57P)/.test(code);
}
