import type pg from 'pg';

/**
 * Statement and idle-in-transaction timeouts belong to the role: behind a transaction pooler a session has no settings
 * of its own. They count for this role in this database only, and for connections made from now on.
 */
export const roleTimeouts = {
  statement_timeout: '15s',
  idle_in_transaction_session_timeout: '5s',
} as const;

/** Sets what is not set yet; a role that may not change itself is left as it is. A value somebody chose stays. */
export async function setRoleTimeouts(client: pg.ClientBase): Promise<void> {
  const { rows } = await client.query<{ setting: string }>(
    `select split_part(unnest(s.setconfig), '=', 1) as setting from pg_db_role_setting s
     join pg_roles r on r.oid = s.setrole join pg_database d on d.oid = s.setdatabase
     where r.rolname = current_user and d.datname = current_database()`,
  );
  const chosen = new Set(rows.map(({ setting }) => setting));
  for (const [setting, value] of Object.entries(roleTimeouts)) {
    if (chosen.has(setting)) continue;
    await client.query(
      // One process at a time: two that alter one role at once make the server fail one of them.
      `do $$ begin
         perform pg_advisory_xact_lock(hashtext('signalbox.role_timeouts'));
         execute format('alter role current_user in database %I set ${setting} = %L', current_database(), '${value}');
       exception when insufficient_privilege or object_not_in_prerequisite_state or internal_error then null; end $$`,
    );
  }
}
