import type pg from 'pg';
import type { Decision } from '../../src/store/decisions.ts';
import type { TestDatabase } from './database.ts';

/** Whatever runs one statement: a database's own connection, or one of the test's. */
export type Connection = pg.ClientBase | Pick<TestDatabase, 'query'>;

export async function rowsOf<Row extends pg.QueryResultRow>(
  on: Connection,
  sql: string,
  parameters: readonly unknown[] = [],
): Promise<Row[]> {
  // Both kinds of connection take the same two arguments; their overloads do not unite.
  const { rows } = await (on as Pick<TestDatabase, 'query'>).query<Row>(sql, parameters);
  return rows;
}

/** The first row of a question that has exactly one. */
export async function oneOf<Row extends pg.QueryResultRow>(
  on: Connection,
  sql: string,
  parameters: readonly unknown[] = [],
): Promise<Row> {
  const [row] = await rowsOf<Row>(on, sql, parameters);
  if (row === undefined) throw new Error(`no row: ${sql}`);
  return row;
}

/** A lease or claim as a decision's body tells it. */
export interface Body {
  readonly state: string;
  readonly reason?: string;
  readonly holder: string;
  readonly slot: number;
  readonly fencing_token: number;
  readonly ttl_remaining_ms: number;
  readonly offered: boolean;
  readonly release_requested: boolean;
  readonly position: number;
  readonly waiting_for: string;
  readonly blocked_by: readonly { readonly claim_id: string; readonly slot: number }[];
}
export interface Answer extends Omit<Decision, 'body'> {
  readonly body: Body;
}

/** `wait`: the line is waited for; otherwise a line somebody else holds is `line_busy`. */
export interface Waiting {
  readonly wait?: boolean;
}
export interface AcquireOptions extends Waiting {
  readonly holder?: string;
  readonly priority?: number;
  readonly ttl_ms?: number;
  readonly mode?: string;
  /** 0: nobody listens for the grant. Default: a minute. */
  readonly listen_ms?: number;
}

export function acquireItem(queue: string, claimId: string, options: AcquireOptions = {}) {
  const { holder = `holder of ${claimId}`, priority = 0, ttl_ms, mode = 'wait', listen_ms = 60_000 } = options;
  return { op: 'acquire', queue, claim_id: claimId, holder, priority, ttl_ms, mode, listen_ms };
}
export function releaseItem(queue: string, claimId: string, token: number) {
  return { op: 'release', queue, claim_id: claimId, fencing_token: token };
}

/** All rows of one deciding call: answers (with `item`) and what happened to other claims. */
export function decide(on: Connection, items: readonly object[], { wait = false }: Waiting = {}): Promise<Answer[]> {
  return rowsOf<Answer>(on, 'select * from signalbox_v1.decide($1, $2)', [JSON.stringify(items), wait]);
}

/** The verbs on the claims of one queue, on one connection; each gives the row that answers it. */
export function onQueue(on: Connection, queue: string) {
  const one = async (item: object, options?: Waiting) => answerOf(await decide(on, [item], options));
  const claims = (claimIds: readonly string[]) => JSON.stringify(claimIds.map((id) => ({ queue, claim_id: id })));
  return {
    acquire: (claimId: string, options: AcquireOptions = {}) => one(acquireItem(queue, claimId, options), options),
    release: (claimId: string, token: number, options?: Waiting) => one(releaseItem(queue, claimId, token), options),
    cancel: (claimId: string, options?: Waiting) => one({ op: 'cancel', queue, claim_id: claimId }, options),
    break: (claimId: string) => one({ op: 'break', queue, claim_id: claimId, reason: 'test', actor: 'tester' }),
    renew: async (claimId: string, token: number, ttl_ms?: number) => {
      const items = [{ queue, claim_id: claimId, fencing_token: token, ttl_ms }];
      return answerOf(await rowsOf<Answer>(on, 'select * from signalbox_v1.renew($1)', [JSON.stringify(items)]));
    },
    look: async (claimId: string, { hear = false } = {}) =>
      answerOf(await rowsOf<Answer>(on, 'select * from signalbox_v1.look($1, $2)', [claims([claimId]), hear])),
    lookAll: (claimIds: readonly string[], { hear = false } = {}) =>
      rowsOf<Answer>(on, 'select * from signalbox_v1.look($1, $2)', [claims(claimIds), hear]),
    hear: (claimIds: readonly string[], listenMs: number) =>
      rowsOf(on, 'select signalbox_v1.hear($1, $2)', [claims(claimIds), listenMs]),
    advance: () => rowsOf<Answer>(on, 'select * from signalbox_v1.advance(array[$1])', [queue]),
    configure: (settings: object) =>
      rowsOf<Answer>(on, 'select * from signalbox_v1.configure($1, $2)', [queue, JSON.stringify(settings)]),
    delete: ({ force = false } = {}) =>
      rowsOf<Answer>(on, 'select * from signalbox_v1.delete_queue($1, $2)', [queue, force]),
    /** Acquires that must be granted at once; their tokens. */
    hold: async (...claimIds: readonly string[]) => {
      const tokens: number[] = [];
      for (const claimId of claimIds) {
        const answer = await one(acquireItem(queue, claimId));
        if (answer.code !== 'held') throw new Error(`${claimId} is ${answer.code}`);
        tokens.push(answer.body.fencing_token);
      }
      return tokens;
    },
    /** Claims that hold, by slot. */
    held: async () =>
      (
        await rowsOf<{ claim_id: string }>(
          on,
          `select claim_id from signalbox.leases where queue = $1 and state = 'held' order by slot`,
          [queue],
        )
      ).map((row) => row.claim_id),
    /** Claims that wait, in order. */
    line: async () =>
      (
        await rowsOf<{ claim_id: string }>(
          on,
          'select claim_id from signalbox.waiting where queue = $1 order by priority desc, seq',
          [queue],
        )
      ).map((row) => row.claim_id),
  };
}

function answerOf(answers: readonly Answer[]): Answer {
  const own = answers.filter(({ item }) => item !== null);
  const [answer] = own;
  if (answer === undefined || own.length > 1) throw new Error(`expected one answer, got ${JSON.stringify(answers)}`);
  return answer;
}

/** Makes queues with the defaults (limit 1) and the settings given. */
export async function makeQueues(on: Connection, queues: readonly string[], settings: object = {}): Promise<void> {
  await rowsOf(on, 'select signalbox_v1.ensure_queues($1)', [queues]);
  if (Object.keys(settings).length > 0) for (const queue of queues) await onQueue(on, queue).configure(settings);
}
