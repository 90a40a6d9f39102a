import pg from 'pg';

/** What a failed statement means to its caller, by SQLSTATE and never by message. */
export type FailureKind =
  /**
   * The statement did nothing; a row lock was not had in time, a deadlock or serialisation failure was broken up, or the
   * server ended the statement (57014: its `statement_timeout`, or a cancel).
   */
  | 'contended'
  /** The statement did not answer in time. Whether it took effect is unknown. */
  | 'timeout'
  /** The connection failed or was refused. Whether it took effect is unknown. */
  | 'unavailable'
  /** A write of the leader found another leader or epoch. */
  | 'deposed'
  /** Anything else: a mistake of this program. */
  | 'defect';

/** This client gave up waiting for the answer to a statement. The connection is thrown away. */
export class DatabaseTimeoutError extends Error {
  constructor(afterMs: number) {
    super(`the database did not answer within ${afterMs} ms (statement timeout)`);
    this.name = 'DatabaseTimeoutError';
  }
}

/** The connection could not be made, or broke under the statement. What the driver said is the cause. */
export class DatabaseUnavailableError extends Error {
  constructor(cause: unknown) {
    super(`the database cannot be reached: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    this.name = 'DatabaseUnavailableError';
  }
}

/** Every connection of a lane is in use, and none came free in time: the statement was not sent. */
export class NoConnectionFreeError extends Error {
  constructor(lane: string) {
    super(`all connections of lane ${lane} are in use`);
    this.name = 'NoConnectionFreeError';
  }
}

/** An error that came from the server as it is; one from the socket or the driver as `DatabaseUnavailableError`. */
export function connectionFailure(error: unknown): unknown {
  return error instanceof pg.DatabaseError ||
    error instanceof DatabaseTimeoutError ||
    error instanceof NoConnectionFreeError
    ? error
    : new DatabaseUnavailableError(error);
}

const contended = new Set(['55P03', '40P01', '40001', '57014']);

export function failureKind(error: unknown): FailureKind {
  if (error instanceof DatabaseTimeoutError) return 'timeout';
  if (error instanceof DatabaseUnavailableError) return 'unavailable';
  if (error instanceof NoConnectionFreeError) return 'contended';
  if (error instanceof pg.DatabaseError && error.code !== undefined) {
    const { code } = error;
    if (code === 'SB001') return 'deposed';
    if (contended.has(code)) return 'contended';
    // 08 connection, 53 out of resources, 57P shutting down or starting, 25006 read-only (a standby), 25P03 idle session
    // ended, 28 and 3D refused at login: all of them pass, or need an operator, but are no defect of the call.
    if (/^(08|53|57P|28|3D)/.test(code) || code === '25006' || code === '25P03' || code === '25P04')
      return 'unavailable';
    return 'defect';
  }
  return 'defect';
}

/** The server answered, and the role, its password or the database is wrong: at start no waiting helps. */
export function isRefusedLogin(error: unknown): boolean {
  return error instanceof pg.DatabaseError && error.code !== undefined && /^(28|3D)/.test(error.code);
}
