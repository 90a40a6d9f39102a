import type pg from 'pg';
import { isOlderVersion, programVersion } from '../../runtime/version.ts';
import { readFunctionSet } from './sql-files.ts';

/** Serialises those who apply functions. A transaction-level lock on the direct connection, so it needs no session. */
const applyLock = 'signalbox.function_set';

export type FunctionSetState = 'current' | 'changed' | 'applied_by_newer_program';

/** Compares the functions in the database with this program's. */
export async function functionSetState(client: pg.ClientBase): Promise<FunctionSetState> {
  const { digest } = await readFunctionSet();
  const { rows } = await client.query<{ digest: string; program_version: string }>(
    'select digest, program_version from signalbox.function_set where id = 1',
  );
  const applied = rows[0];
  if (applied === undefined) return 'changed';
  if (applied.digest === digest) return 'current';
  return isOlderVersion(programVersion, applied.program_version) ? 'applied_by_newer_program' : 'changed';
}

/**
 * Applies the functions and views of this program, all in one transaction, if they differ from those in place and were
 * not put there by a newer program. Functions that no file makes any more are dropped: signatures only grow by defaulted
 * arguments, so the calls of an older program still find the new one.
 */
export async function applyFunctionSet(client: pg.ClientBase): Promise<boolean> {
  const { files, digest } = await readFunctionSet();
  await client.query('begin');
  try {
    // Before the wait for those who apply them now.
    await client.query('set local statement_timeout = 0');
    await client.query('select pg_advisory_xact_lock(hashtext($1))', [applyLock]);
    if ((await functionSetState(client)) !== 'changed') {
      await client.query('rollback');
      return false;
    }
    await client.query('set local check_function_bodies = off');
    for (const { name, text } of files) {
      try {
        await client.query(text);
        const comment = commentOn(name, text);
        if (comment !== undefined) await client.query(comment);
      } catch (error) {
        throw new Error(`migrations/${name}.sql: ${(error as Error).message}`, { cause: error });
      }
    }
    await client.query(dropStaleFunctions);
    await client.query(grants);
    await client.query(
      `insert into signalbox.function_set (id, digest, program_version, applied_at)
       values (1, $1, $2, clock_timestamp())
       on conflict (id) do update set digest = excluded.digest, program_version = excluded.program_version,
         applied_at = excluded.applied_at`,
      [digest, programVersion],
    );
    await client.query('commit');
    return true;
  } catch (error) {
    await client.query('rollback').catch(() => undefined);
    throw error;
  }
}

/** What a view's file says about it in its head, for whoever looks at it with psql's \dv+ or another tool. */
function commentOn(name: string, text: string): string | undefined {
  const view = /^views\/(\w+)$/.exec(name)?.[1];
  const head = /^(?:--.*\n)+/.exec(text)?.[0];
  if (view === undefined || head === undefined) return undefined;
  const words = head.replaceAll(/^-- ?/gm, '').trim().replaceAll('\n', ' ').replaceAll("'", "''");
  return `comment on view signalbox_v1.${view} is '${words}'`;
}

// What this transaction did not write again is left over from an older program.
const dropStaleFunctions = `
do $$
declare
  v_function text;
begin
  for v_function in
    select p.oid::regprocedure::text from pg_proc p
    where p.pronamespace in ('signalbox'::regnamespace, 'signalbox_v1'::regnamespace)
      and p.xmin <> pg_current_xact_id()::xid
  loop
    execute 'drop function ' || v_function;
  end loop;
end $$`;

// PostgreSQL lets everybody execute a new function; ours decide, so nobody may but their owner and whom they are granted
// to. Creating a role may be refused to a restricted owner; then views and enqueue are the owner's alone and migrate says so.
const grants = `
revoke all on all functions in schema signalbox, signalbox_v1 from public;
do $$
begin
  if not exists (select 1 from pg_roles where rolname = 'signalbox_reader') then
    begin
      create role signalbox_reader nologin;
    exception when duplicate_object or unique_violation or insufficient_privilege then
      null;
    end;
  end if;
  if exists (select 1 from pg_roles where rolname = 'signalbox_reader') then
    grant usage on schema signalbox_v1 to signalbox_reader;
    grant select on signalbox_v1.queues, signalbox_v1.line, signalbox_v1.leases, signalbox_v1.leader,
      signalbox_v1.recent_events, signalbox_v1.ended_claims, signalbox_v1.runs, signalbox_v1.dead_letters,
      signalbox_v1.blocked_queues, signalbox_v1.merge_queues, signalbox_v1.merge_requests,
      signalbox_v1.queue_patterns, signalbox_v1.queue_settings, signalbox_v1.webhooks, signalbox_v1.failover to signalbox_reader;
    grant execute on function signalbox.clock(), signalbox.ms(double precision),
      signalbox.ms_until(timestamptz, timestamptz),
      signalbox.waiting_for(signalbox.lines, bigint, bigint, bigint, text, boolean, bigint, boolean),
      signalbox.quarantine_end(text, timestamptz),
      signalbox.blocked_by(signalbox.lines), signalbox.hold_outlook(signalbox.lines),
      signalbox.estimated_wait_ms(signalbox.lines, bigint, text, bigint, bigint[]),
      signalbox.other_queue(text, text),
      signalbox.standing(signalbox.queues, bigint, bigint, bigint),
      signalbox.why(signalbox.lines, text, bigint, bigint, jsonb, bigint, integer, bigint),
      signalbox.failure_policy(integer, text),
      signalbox.settings_of(signalbox.lines, signalbox.queues),
      signalbox.own_settings(signalbox.lines, signalbox.queues) to signalbox_reader;
  end if;
end $$;
do $$
begin
  if not exists (select 1 from pg_roles where rolname = 'signalbox_enqueuer') then
    begin
      create role signalbox_enqueuer nologin;
    exception when duplicate_object or unique_violation or insufficient_privilege then
      null;
    end;
  end if;
  if exists (select 1 from pg_roles where rolname = 'signalbox_enqueuer') then
    grant usage on schema signalbox_v1 to signalbox_enqueuer;
    grant execute on function signalbox_v1.enqueue(text, text, json, integer, jsonb, bigint, integer, bigint, text, integer)
      to signalbox_enqueuer;
  end if;
end $$`;
