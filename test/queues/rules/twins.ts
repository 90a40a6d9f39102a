import { expect } from 'vitest';
import { freshDatabase, type TestDatabase } from '../../support/database.ts';
import { type Answer, oneOf, rowsOf } from '../../support/sql-verbs.ts';

/**
 * Two databases that are told the same at the same time, by a clock that stands still between steps. The first decides
 * as it is; in the second the set-wise functions answer nothing, so that everything is decided one by one.
 */
export interface Twins extends AsyncDisposable {
  readonly usual: TestDatabase;
  readonly single: TestDatabase;
  /** Sets the clock of every row, in ms from 23:59:30 UTC of today: what follows crosses a midnight. */
  setClock(ms: number): Promise<void>;
  /** Does the same in both, and gives the two results. */
  both<T>(work: (db: TestDatabase) => Promise<T>): Promise<readonly [T, T]>;
  /** Forgets every queue, claim and event of both. */
  clear(): Promise<void>;
  /** How many decisions of the first were made set-wise so far. */
  setWise(): Promise<Readonly<Record<'released' | 'held' | 'waiting', number>>>;
}

export async function openTwins(): Promise<Twins> {
  const [usual, single] = await Promise.all([freshDatabase(), freshDatabase()]);
  for (const name of ['grant_free', 'release_held', 'renew_fitting', 'join_full_lines']) await disable(single, name);
  await single.query(`create or replace function signalbox.serve_heads(p_queues text[], out decisions signalbox_v1.decision[],
    out served text[]) language plpgsql as $$ begin decisions := '{}'; served := '{}'; end $$`);
  await countSetWise(usual);
  const { start } = await oneOf<{ start: string }>(
    usual,
    `select (date_trunc('day', now() at time zone 'UTC') + interval '23:59:30')::text || '+00' as start`,
  );
  const both = <T>(work: (db: TestDatabase) => Promise<T>) => Promise.all([work(usual), work(single)]);
  return {
    usual,
    single,
    both,
    setClock: async (ms) => {
      await both((db) =>
        db.query(`create or replace function signalbox.clock() returns timestamptz language sql volatile parallel safe
          as $$ select timestamptz '${start}' + interval '${Math.trunc(ms)} milliseconds' $$`),
      );
    },
    clear: async () => {
      await both((db) => db.query(`truncate ${tables.map((table) => `signalbox.${table}`).join(', ')}`));
    },
    setWise: () =>
      oneOf(
        usual,
        `select count(*) filter (where code = 'released')::integer as released,
           count(*) filter (where code = 'held')::integer as held,
           count(*) filter (where code = 'waiting')::integer as waiting from public.set_wise`,
      ),
    [Symbol.asyncDispose]: async () => {
      await Promise.all([usual[Symbol.asyncDispose](), single[Symbol.asyncDispose]()]);
    },
  };
}

async function disable(db: TestDatabase, name: string): Promise<void> {
  const { parameters } = await oneOf<{ parameters: string }>(
    db,
    `select pg_get_function_identity_arguments(p.oid) as parameters from pg_proc p
     where p.pronamespace = 'signalbox'::regnamespace and p.proname = $1`,
    [name],
  );
  await db.query(`create or replace function signalbox.${name}(${parameters})
    returns signalbox_v1.decision[] language plpgsql as $$ begin return '{}'; end $$`);
}

async function countSetWise(db: TestDatabase): Promise<void> {
  await db.query('create table public.set_wise (code text)');
  for (const name of ['release_held', 'serve_heads', 'join_full_lines'])
    await db.query(`alter function signalbox.${name} rename to ${name}_as_it_is`);
  await db.query(`create function signalbox.release_held(p_operations signalbox.operation[], p_apart text[])
    returns signalbox_v1.decision[] language plpgsql as $$
    declare
      v_decisions signalbox_v1.decision[] := signalbox.release_held_as_it_is(p_operations, p_apart);
    begin
      insert into public.set_wise select d.code from unnest(v_decisions) d;
      return v_decisions;
    end $$`);
  await db.query(`create function signalbox.join_full_lines(p_operations signalbox.operation[], p_not integer[],
      p_apart text[]) returns signalbox_v1.decision[] language plpgsql as $$
    declare
      v_decisions signalbox_v1.decision[] := signalbox.join_full_lines_as_it_is(p_operations, p_not, p_apart);
    begin
      insert into public.set_wise select d.code from unnest(v_decisions) d;
      return v_decisions;
    end $$`);
  await db.query(`create function signalbox.serve_heads(p_queues text[], out decisions signalbox_v1.decision[],
      out served text[]) language plpgsql as $$
    begin
      select h.decisions, h.served into decisions, served from signalbox.serve_heads_as_it_is(p_queues) h;
      insert into public.set_wise select d.code from unnest(decisions) d;
    end $$`);
}

const tables = [
  ...['queues', 'lines', 'leases', 'wide_slots', 'waiting', 'heard', 'history', 'events'],
  ...['runs', 'delayed', 'inbox', 'dead_letters', 'ready_queues', 'taken', 'turns', 'batches'],
];

/** Every row that decides or tells anything, without what counts transactions. */
async function stateOf(db: TestDatabase): Promise<unknown> {
  const parts = tables.map(
    (table) => `select '${table}' as kind, to_jsonb(t) - array['id', 'xid'] as entry, ctid from signalbox.${table} t`,
  );
  return rowsOf(db, {
    name: 'everything',
    text: `select kind, entry from (${parts.join(' union all ')}) everything order by kind, entry::text`,
  });
}

export async function expectSameState(twins: Twins): Promise<void> {
  const [usual, single] = await twins.both(stateOf);
  expect(usual).toEqual(single);
}

/**
 * Answers in the order of their items, then what happened to others. A release's body tells nothing to its caller, and how
 * often takers are woken is not the same.
 */
export function told(answers: readonly Answer[]): readonly object[] {
  const lines = answers
    .filter(({ code }) => code !== 'ready')
    .map(({ item, code, queue, claim_id, body }) => ({
      item,
      code,
      queue,
      claim_id,
      ...(code === 'released' ? {} : { body }),
    }));
  const order = (line: (typeof lines)[number]) => `${line.item === null ? 'others' : line.item + 1000}`;
  return lines.toSorted((a, b) => compare(order(a), order(b)) || compare(JSON.stringify(a), JSON.stringify(b)));
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
