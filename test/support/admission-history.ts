/** One grant by the database's clock: times in whole microseconds, `endedAt` null while it is held. */
export interface Grant {
  readonly claimId: string;
  readonly slot: number;
  readonly token: number;
  readonly acquiredAt: number;
  readonly endedAt: number | null;
}

/** A grant as a client saw it: the token of a 200 `held` answer. */
export interface SeenGrant {
  readonly claimId: string;
  readonly token: number;
}

interface Database {
  query(sql: string, params: unknown[]): Promise<{ rows: Record<string, unknown>[] }>;
}

/** Every grant of a queue that the database knows of, ended or held. */
export async function readGrants(database: Database, queue: string): Promise<Grant[]> {
  const { rows } = await database.query(
    `select claim_id, slot::text, fencing_token::text, us(acquired_at)::text as acquired_at, us(ended_at)::text as ended_at
     from (select claim_id, slot, fencing_token, acquired_at, ended_at from signalbox.history
           where queue = $1 and slot is not null
           union all
           select claim_id, slot, fencing_token, acquired_at, null from signalbox.leases
           where queue = $1 and state = 'held') g`.replace(
      /us\((\w+)\)/g,
      '(extract(epoch from $1) * 1000000)::bigint',
    ),
    [queue],
  );
  return rows.map((row) => ({
    claimId: String(row['claim_id']),
    slot: Number(row['slot']),
    token: Number(row['fencing_token']),
    acquiredAt: Number(row['acquired_at']),
    endedAt: row['ended_at'] == null ? null : Number(row['ended_at']),
  }));
}

/** The largest number of intervals [from, to) that share an instant; an end at the same instant as a start comes first. */
export function mostAtOnce(intervals: readonly { readonly from: number; readonly to: number }[]): number {
  const changes = intervals
    .flatMap(({ from, to }) => [
      { at: from, change: 1 },
      { at: to, change: -1 },
    ])
    .sort((a, b) => a.at - b.at || a.change - b.change);
  let now = 0;
  let most = 0;
  for (const { change } of changes) {
    now += change;
    most = Math.max(most, now);
  }
  return most;
}

/**
 * What the history of one queue must never show, one line each; empty = it holds. More grants at once than the limit,
 * two in one slot, tokens that do not grow in the order of the grants, a grant that a client saw and the history lacks.
 */
export function findViolations(
  grants: readonly Grant[],
  { limit, seen }: { readonly limit: number; readonly seen: readonly SeenGrant[] },
): string[] {
  const violations: string[] = [];
  const intervals = grants.map((grant) => ({ ...grant, from: grant.acquiredAt, to: grant.endedAt ?? Infinity }));
  const most = mostAtOnce(intervals);
  if (most > limit) violations.push(`${most} grants at once, the limit is ${limit}`);

  const bySlot = Map.groupBy(intervals, ({ slot }) => slot);
  for (const [slot, ofSlot] of bySlot) {
    if (mostAtOnce(ofSlot) > 1) violations.push(`slot ${slot} was held twice at once`);
  }

  const ordered = intervals.toSorted((a, b) => a.from - b.from || a.token - b.token);
  for (const [index, grant] of ordered.entries()) {
    const previous = ordered[index - 1];
    if (previous !== undefined && grant.token <= previous.token)
      violations.push(`token ${grant.token} of ${grant.claimId} came after token ${previous.token}`);
  }

  const known = new Set(grants.map(({ claimId, token }) => `${claimId} ${token}`));
  for (const { claimId, token } of seen) {
    if (!known.has(`${claimId} ${token}`))
      violations.push(`a client got token ${token} for ${claimId}, history lacks it`);
  }
  return violations;
}
