import type pg from 'pg';
import { type Decision, type Operation, wholeDecisions } from '../../src/store/decisions.ts';
import type { PreparedStatement, TestDatabase } from './database.ts';

/** Whatever runs one statement: a database's own connection, or one of the test's. */
export type Connection = pg.ClientBase | Pick<TestDatabase, 'query'>;

export async function rowsOf<Row extends pg.QueryResultRow>(
  on: Connection,
  sql: string | PreparedStatement,
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
  readonly claim_id: string;
  readonly position: number;
  readonly ahead: number;
  readonly waiting_for: string;
  readonly estimated_wait_ms: number | null;
  readonly why: string;
  readonly blocked_by: readonly { readonly claim_id: string; readonly slot: number }[];
  readonly also?: readonly { queue: string; slot: number; fencing_token: number; weight: number }[];
  readonly primary?: string;
  readonly waiting_for_queue?: string;
  readonly kind: string;
  readonly attempt: number;
  readonly attempts: number;
  readonly max_attempts: number;
  readonly due_at: string | null;
  /** Its JSON text. */
  readonly payload: string | null;
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
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly batch?: string | undefined;
  readonly batch_rank?: number | undefined;
  readonly weight?: number | undefined;
  readonly max_wait_ms?: number | undefined;
  readonly also?: readonly { readonly queue: string; readonly weight?: number }[];
}

export function acquireItem(queue: string, claimId: string, options: AcquireOptions = {}) {
  const { holder = `holder of ${claimId}`, priority = 0, ttl_ms, mode = 'wait', listen_ms = 60_000 } = options;
  const { labels, weight, also, max_wait_ms, batch, batch_rank } = options;
  const policy = { labels, weight, also, max_wait_ms, batch, batch_rank };
  return { op: 'acquire', queue, claim_id: claimId, holder, priority, ttl_ms, mode, listen_ms, ...policy };
}
export interface ReleaseOptions extends Waiting {
  readonly outcome?: string | undefined;
  readonly retry_after_ms?: number | undefined;
  readonly error?: string | undefined;
}

export function releaseItem(queue: string, claimId: string, token: number, options: ReleaseOptions = {}) {
  const { outcome, retry_after_ms, error } = options;
  return { op: 'release', queue, claim_id: claimId, fencing_token: token, outcome, retry_after_ms, error };
}

export interface RenewOptions {
  readonly ttl_ms?: number | undefined;
  readonly holder?: string | undefined;
  readonly shorten?: boolean | undefined;
}

export function renewItem(queue: string, claimId: string, token: number, options: RenewOptions = {}) {
  const { ttl_ms, holder, shorten } = options;
  return { queue, claim_id: claimId, fencing_token: token, ttl_ms, holder, shorten };
}

/** One row answers each item; of a renewed lease it tells only what a renewal changes. */
export function renewItems(on: Connection, items: readonly object[]): Promise<Answer[]> {
  return rowsOf<Answer>(on, 'select * from signalbox_v1.renew($1, true)', [JSON.stringify(items)]);
}

export interface EnqueueOptions {
  /** JSON text. */
  readonly payload?: string | undefined;
  readonly priority?: number | undefined;
  readonly delay_ms?: number | undefined;
  readonly max_attempts?: number | undefined;
  readonly max_age_ms?: number | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly batch?: string | undefined;
  readonly batch_rank?: number | undefined;
}

export function enqueueItem(queue: string, claimId: string, options: EnqueueOptions & Waiting = {}) {
  const { payload, priority, delay_ms, max_attempts, max_age_ms, labels, batch, batch_rank } = options;
  return {
    ...{ op: 'enqueue', queue, claim_id: claimId, payload, priority, delay_ms, max_attempts, max_age_ms },
    ...{ labels, batch, batch_rank },
  };
}

/** The enqueue that users call, inside whatever transaction this connection is in. */
export async function enqueueBySql(
  on: Connection,
  queue: string,
  claimId: string,
  options: EnqueueOptions = {},
): Promise<void> {
  const { payload = null, priority = 0, delay_ms = 0, max_attempts = null, max_age_ms = null } = options;
  const { labels = {}, batch = null, batch_rank = null } = options;
  await rowsOf(on, `select signalbox_v1.enqueue($1, $2, $3, $4, $8, $5, $6, $7, $9, $10)`, [
    queue,
    claimId,
    payload,
    priority,
    delay_ms,
    max_attempts,
    max_age_ms,
    JSON.stringify(labels),
    batch,
    batch_rank,
  ]);
}

export interface TakeItem {
  readonly queue?: string | undefined;
  readonly prefix?: string | undefined;
  readonly holder?: string | undefined;
  readonly max?: number | undefined;
  readonly ttl_ms?: number | undefined;
  readonly request_id?: string | undefined;
  readonly continues?: boolean | undefined;
  readonly bytes?: number | undefined;
}

/** What one request of a take came to. `others`: rows that answer no request. */
export interface Taken {
  readonly claims: readonly Answer[];
  readonly ids: readonly string[];
  readonly more: boolean;
  readonly busy: boolean;
  readonly repeated: boolean;
  readonly others: readonly Answer[];
}

export async function take(on: Connection, item: TakeItem, options: Waiting = {}): Promise<Taken> {
  const [taken] = await takeAll(on, [item], options);
  if (taken === undefined) throw new Error('a take was not answered');
  return taken;
}

export async function takeAll(
  on: Connection,
  items: readonly TakeItem[],
  { wait = false }: Waiting = {},
): Promise<Taken[]> {
  const requests = JSON.stringify(items.map((item) => ({ holder: 'worker', ...item })));
  const rows = await rowsOf<Answer>(on, 'select * from signalbox_v1.take($1, $2)', [requests, wait]);
  return items.map((_, index) => {
    const own = rows.filter(({ item }) => item === index);
    const end = own.find(({ code }) => code === 'served')?.body as Partial<Taken> | undefined;
    const claims = own.filter(({ code }) => code === 'taken');
    return {
      claims,
      ids: claims.map(({ claim_id }) => claim_id ?? ''),
      more: end?.more === true,
      busy: end?.busy === true,
      repeated: end?.repeated === true,
      others: rows.filter(
        ({ item, code }) => item === null || (item === index && code !== 'taken' && code !== 'served'),
      ),
    };
  });
}

export interface CleanOptions {
  readonly holder?: string;
  readonly ttl_ms?: number;
  readonly max?: number;
  readonly request_id?: string;
}
export interface Cleaning extends Answer {
  readonly body: Body & {
    readonly previous: {
      readonly claim_id: string;
      readonly kind: string;
      readonly holder: string;
      readonly fencing_token: number;
      readonly state: string;
      readonly reason: string;
      readonly outcome: string | null;
    };
  };
}

/** What a cleaner of this queue is given; `code` is what ends the answer. */
export async function clean(on: Connection, queue: string, options: CleanOptions = {}) {
  const { holder = 'cleaner', ttl_ms = null, max = 1, request_id = null } = options;
  const rows = await rowsOf<Cleaning>(on, 'select * from signalbox_v1.clean($1, $2, $3, $4, $5)', [
    queue,
    holder,
    ttl_ms,
    max,
    request_id,
  ]);
  const end = rows.find(({ item, code }) => item === 0 && code !== 'cleaning');
  return {
    claims: rows.filter(({ code }) => code === 'cleaning'),
    others: rows.filter(({ item }) => item === null),
    code: end?.code,
    ...(end?.body as { readonly more?: boolean; readonly repeated?: boolean } | null),
  };
}

/** Cleans one slot that must be dirty; the lease. */
export async function cleanOne(on: Connection, queue: string, options: CleanOptions = {}): Promise<Cleaning> {
  const { claims, code } = await clean(on, queue, options);
  const [claim] = claims;
  if (claim === undefined || claims.length > 1) throw new Error(`${claims.length} slots to clean: ${code}`);
  return claim;
}

/** Takes from one queue what must be there, in this order; their tokens. */
export async function takeExactly(on: Connection, queue: string, ...claimIds: readonly string[]): Promise<number[]> {
  const { claims, ids } = await take(on, { queue, max: Math.max(1, claimIds.length) });
  if (JSON.stringify(ids) !== JSON.stringify(claimIds)) throw new Error(`took ${ids.join(', ')}`);
  return claims.map(({ body }) => body.fencing_token);
}

export function renewHeld(
  on: Connection,
  holder: string,
  { ttl_ms, prefix = '' }: { ttl_ms?: number; prefix?: string } = {},
) {
  return rowsOf<Answer>(on, 'select * from signalbox_v1.renew_held($1, $2, $3, true)', [
    holder,
    ttl_ms ?? null,
    prefix,
  ]);
}

/** All rows of one deciding call: answers (with `item`) and what happened to other claims. */
export async function decide(
  on: Connection,
  items: readonly object[],
  { wait = false }: Waiting = {},
): Promise<Answer[]> {
  const rows = await rowsOf<Decision>(on, 'select * from signalbox_v1.decide($1, $2, true)', [
    JSON.stringify(items),
    wait,
  ]);
  return wholeDecisions(items as readonly Operation[], rows) as unknown as Answer[];
}

/** The verbs on the claims of one queue, on one connection; each gives the row that answers it. */
export function onQueue(on: Connection, queue: string) {
  const one = async (item: object, options?: Waiting) => answerOf(await decide(on, [item], options));
  const claims = (claimIds: readonly string[]) => JSON.stringify(claimIds.map((id) => ({ queue, claim_id: id })));
  return {
    acquire: (claimId: string, options: AcquireOptions = {}) => one(acquireItem(queue, claimId, options), options),
    release: (claimId: string, token: number, options?: ReleaseOptions) =>
      one(releaseItem(queue, claimId, token, options), options),
    enqueue: (claimId: string, options?: EnqueueOptions & Waiting) =>
      one(enqueueItem(queue, claimId, options), options),
    giveBack: (claimId: string, token: number) => one({ op: 'return', queue, claim_id: claimId, fencing_token: token }),
    take: (max = 1, item: TakeItem = {}) => take(on, { queue, max, ...item }),
    cancel: (claimId: string, options?: Waiting) => one({ op: 'cancel', queue, claim_id: claimId }, options),
    break: (claimId: string) => one({ op: 'break', queue, claim_id: claimId, reason: 'test', actor: 'tester' }),
    renew: async (claimId: string, token: number, ttl_ms?: number) =>
      answerOf(await renewItems(on, [renewItem(queue, claimId, token, { ttl_ms })])),
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
    /** Claims that wait, in order; or the runs. */
    line: async (kind = 'claim') =>
      (
        await rowsOf<{ claim_id: string }>(
          on,
          'select claim_id from signalbox.waiting where queue = $1 and kind = $2 order by place, seq, rank',
          [queue, kind],
        )
      ).map((row) => row.claim_id),
    /** Claims and runs before their time, in the order of the line. */
    delayed: async () =>
      (
        await rowsOf<{ claim_id: string }>(
          on,
          'select claim_id from signalbox.delayed where queue = $1 order by place, seq, rank',
          [queue],
        )
      ).map((row) => row.claim_id),
    /** Dead letters with their reasons, in the order of their death. */
    dead: async () =>
      (
        await rowsOf<{ letter: string }>(
          on,
          `select claim_id || ': ' || reason as letter from signalbox.dead_letters
           where queue = $1 order by died_at, claim_id`,
          [queue],
        )
      ).map((row) => row.letter),
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
