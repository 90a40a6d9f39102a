import pg from 'pg';

/**
 * Fills tables by multiplying rows that the verbs made, so that a copy is as whole as its sample whatever the layout of
 * the day: every table that knows the sample's queue gets a row for each copy.
 */
export async function copyQueue(
  database: pg.ClientBase,
  { sample, copies, nameOf }: { sample: string; copies: number; nameOf: (n: string) => string },
): Promise<void> {
  for (const table of await tablesByQueue(database)) {
    await copyRows(database, {
      table,
      where: 's.queue = $1',
      sample,
      from: 1,
      to: copies,
      // Claims have names of their own in every copy.
      set: { queue: nameOf('n'), claim_id: `s.claim_id || '-' || n` },
    });
  }
}

export interface Copies {
  /** In schema signalbox. */
  readonly table: string;
  /** Condition on the sample rows `s`, with `$1` = `sample`. */
  readonly where: string;
  readonly sample: string;
  /** Every sample row is inserted once for each whole number `n` in this range. */
  readonly from: number;
  readonly to: number;
  /** SQL for the columns in which copies differ; columns that the table does not have are passed over. */
  readonly set: Readonly<Record<string, string>>;
}

export async function copyRows(database: pg.ClientBase, copies: Copies): Promise<void> {
  const table = `signalbox.${copies.table}`;
  const { rows } = await database.query<{ name: string }>(
    `select attname as name from pg_attribute
     where attrelid = $1::regclass and attnum > 0 and not attisdropped and attidentity = '' and attgenerated = ''`,
    [table],
  );
  const names = rows.map(({ name }) => name);
  const values = names.map((name) => copies.set[name] ?? `s.${pg.escapeIdentifier(name)}`);
  await database.query(
    `insert into ${table} (${names.map((name) => pg.escapeIdentifier(name)).join(', ')})
     select ${values.join(', ')} from (select * from ${table} s where ${copies.where}) s,
       generate_series(${copies.from}, ${copies.to}) n`,
    [copies.sample],
  );
}

/** Not what is only ever added to: history and events of the sample are not the copies'. */
async function tablesByQueue(database: pg.ClientBase): Promise<string[]> {
  const { rows } = await database.query<{ name: string }>(
    `select c.relname as name from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'queue'
     where c.relnamespace = 'signalbox'::regnamespace and c.relkind = 'r' and not c.relispartition
     order by c.relname`,
  );
  return rows.map(({ name }) => name);
}
