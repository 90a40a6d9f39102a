import { expect, test } from 'vitest';
import { stopClock } from '../../support/database-clock.ts';
import { freshDatabase, type TestDatabase } from '../../support/database.ts';
import { expectSoundQueues } from '../../support/sound-queues.ts';
import { type AcquireOptions, clean, makeQueues, onQueue, rowsOf, take } from '../../support/sql-verbs.ts';

const names = ['a', 'b', 'c'] as const;
const settings = { reserve_max_ms: 2000, retry_delay_ms: 0, max_attempts: 20, concurrency_limit: 2 };

interface Row {
  readonly queue: string;
  readonly claim_id: string;
  readonly token: number;
}

/** Numbers that are the same in every run. */
function dice(seed: number) {
  let state = Math.imul(seed, 2_654_435_761) >>> 0;
  const below = (count: number) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 8) % count;
  };
  return { below, pick: <T>(...values: readonly [T, ...T[]]): T => values[below(values.length)] ?? values[0] };
}

const held = `select queue, claim_id, fencing_token::float8 as token from signalbox.leases
  where state = 'held' and kind <> 'cleaning' and coalesce(joint ->> 'primary', queue) = queue order by queue, slot`;
const waiting = `select queue, claim_id, 0 as token from signalbox.waiting
  where coalesce(joint ->> 'primary', queue) = queue order by queue, kind, place, seq, rank`;
const cleaning = `select queue, claim_id, fencing_token::float8 as token from signalbox.leases
  where state = 'held' and kind = 'cleaning' order by queue, slot`;

/** Who waits although all of its queues have room for it: once every line has advanced, nobody. */
const passedBy = `select w.queue, w.claim_id from signalbox.waiting w
  where w.kind = 'claim' and (w.wait_until is null or w.wait_until > signalbox.clock())
    and coalesce(w.joint ->> 'primary', w.queue) = w.queue and not exists (
      select from (
        select w.queue where w.joint is null
        union all select q.value ->> 'queue' from jsonb_array_elements(w.joint -> 'queues') q(value)) q(queue)
      left join signalbox.lines n on n.queue = q.queue
      left join signalbox.waiting t on t.queue = q.queue and t.claim_id = w.claim_id
      where not coalesce(signalbox.has_room(n, t.weight, t), false))`;

/** Places that are taken, dirty ones and those in lock delay too, by queue; and the newest tokens, of all and of all but cleaners. */
const taken = `select n.queue, n.concurrency_limit as most, g.token, g.claims, coalesce(s.places, 0)::integer as places
  from signalbox.lines n
  cross join lateral (
    select max(e.token) as token, max(e.token) filter (where e.kind is null) as claims from (
      select (data ->> 'fencing_token')::float8 as token, data ->> 'kind' as kind from signalbox.events
      where queue = n.queue and type = 'lease.granted') e) g
  cross join lateral (
    select sum(l.weight) as places from signalbox.leases l
    where l.queue = n.queue and (l.state = 'held' or l.free_after > signalbox.clock())) s`;

interface Taken {
  readonly queue: string;
  readonly most: number | null;
  readonly token: number | null;
  readonly claims: number | null;
  readonly places: number;
}

async function operate(db: TestDatabase, step: number, { below, pick }: ReturnType<typeof dice>): Promise<string> {
  const one = async (from: string): Promise<Row | undefined> => {
    const rows = await rowsOf<Row>(db, from);
    return rows[below(Math.max(1, rows.length))];
  };
  const queue = onQueue(db, pick(...names));
  const number = below(100);
  if (number < 40) {
    const [own = 'a', ...others] = names.toSorted(() => below(3) - 1).slice(0, pick(1, 1, 2, 3));
    const options: AcquireOptions = {
      weight: pick(1, 1, 2, 3, 5),
      priority: below(2),
      listen_ms: pick(0, 600_000),
      ttl_ms: pick(2000, 30_000),
      max_wait_ms: pick(undefined, undefined, 3000),
      batch: pick(undefined, undefined, 'batch'),
      labels: { tenant: pick('x', 'y') },
      mode: others.length > 0 ? pick('wait', 'wait', 'skip_if_busy') : pick('wait', 'latest_only', 'skip_if_busy'),
    };
    const also = others.map((name) => ({ queue: name, weight: pick(1, 1, 2, 3) }));
    await onQueue(db, own).acquire(`claim ${step}`, also.length === 0 ? options : { ...options, also });
    return `acquire ${own}`;
  }
  if (number < 46) {
    await queue.enqueue(`run ${step}`, { labels: { tenant: pick('x', 'y') }, delay_ms: pick(0, 0, 1500) });
    await take(db, { prefix: '', max: 2, ttl_ms: 5000 });
    return 'run';
  }
  if (number < 62) {
    const lease = await one(held);
    const retry = { outcome: 'retry', retry_after_ms: pick(0, 1000) };
    if (lease !== undefined)
      await onQueue(db, lease.queue).release(
        lease.claim_id,
        lease.token,
        pick<object>({}, {}, retry, { outcome: 'failure' }),
      );
    return 'release';
  }
  if (number < 66) {
    const lease = await one(held);
    if (lease !== undefined) await onQueue(db, lease.queue).renew(lease.claim_id, lease.token);
    return 'renew';
  }
  if (number < 71) {
    const claim = await one(pick(held, waiting));
    if (claim !== undefined) await onQueue(db, claim.queue)[pick('cancel', 'break')](claim.claim_id);
    return 'cancel';
  }
  if (number < 84) {
    const lease = await one(cleaning);
    if (lease === undefined) await clean(db, pick(...names), { max: 2, ttl_ms: pick(2000, 20_000) });
    else await onQueue(db, lease.queue).release(lease.claim_id, lease.token, { outcome: pick(undefined, 'failure') });
    return 'clean';
  }
  const change = pick<object>(
    { concurrency_limit: pick<number | null>(1, 2, 3, 4, 0, 300, null) },
    { concurrency_limit: pick(1, 2, 3) },
    { cleanup: below(3) > 0 },
    { lock_delay_ms: pick(0, 4000) },
    { paused: below(3) === 0 },
    { rotate_by: pick(null, 'tenant') },
    { on_full: pick('drop_oldest', 'drop_last', 'refuse'), max_waiting: pick(2, 4, 100) },
    { cancel_in_progress: below(2) === 0, supersede_by: pick(null, 'tenant') },
    { reserve_max_ms: pick(0, 1000, 5000) },
    { retry_place: pick('kept', 'last') },
    { max_hold_ms: pick(null, 4000) },
  );
  await queue.configure(change);
  return 'configure';
}

/** What a replica does about everything that can move. */
async function settle(db: TestDatabase): Promise<void> {
  for (let round = 0; round < 10; round++) {
    const rows = await rowsOf<{ code: string }>(db, 'select code from signalbox_v1.advance($1, 100, true)', [names]);
    if (rows.every(({ code }) => code === 'ready')) return;
  }
  throw new Error('the lines do not come to rest');
}

/*
 * All that the other random tests try by themselves, in lines that share claims: weights, clean-up, several queues, limits and
 * policies that change, retries, runs, time that runs out, and lines and rows that somebody else has.
 */
test.each([1, 2])(
  'whatever happens in whatever order, no limit is passed and nobody is left beside a free place (%i)',
  {
    timeout: 60_000,
  },
  async (seed) => {
    await using db = await freshDatabase();
    await makeQueues(db, names, settings);
    const setClock = await stopClock(db);
    const random = dice(seed);
    const busy = await db.connect();
    let [clockMs, granted, isBusy] = [0, 0, false];
    let before = new Map<string, Taken>();
    for (let step = 0; step < 90; step++) {
      clockMs += random.below(8) === 0 ? random.pick(500, 1500, 3000, 11_000) : 1;
      await setClock(clockMs);
      if (!isBusy && random.below(10) === 0) {
        const what = random.pick(
          `signalbox.lines where queue = 'b'`,
          `signalbox.leases where queue = 'b' and state = 'held'`,
        );
        await busy.query('begin');
        await busy.query(`select from ${what} for no key update`);
        isBusy = true;
      }
      const done = await operate(db, step, random).catch((error: unknown) => {
        // A line is waited for by who changes its settings, a row by who renews it.
        if (isBusy && (error as { code?: string }).code === '55P03') return 'busy';
        throw error;
      });
      if (isBusy && random.below(3) === 0) {
        await busy.query('commit');
        isBusy = false;
      }
      if (!isBusy) await settle(db);
      const rows = await rowsOf<Taken>(db, taken);
      for (const { queue, most, token, claims, places } of rows) {
        const old = before.get(queue);
        const isNew = claims !== null && claims !== old?.claims;
        // A lowered limit takes nothing away, and a cleaner's lease takes no place that was free.
        if (isNew && most !== null && old?.most === most)
          expect([step, done, queue, places <= most]).toEqual([step, done, queue, true]);
        expect(token ?? 0).toBeGreaterThanOrEqual(old?.token ?? 0);
        granted += Number(isNew);
      }
      before = new Map(rows.map((row) => [row.queue, row]));
      if (isBusy) continue;
      expect([step, done, await rowsOf(db, passedBy)]).toEqual([step, done, []]);
      expect([step, done, await rowsOf(db, 'select queue from signalbox.loose_ends')]).toEqual([step, done, []]);
      if (step % 3 === 0) await expectSoundQueues(db);
    }
    if (isBusy) await busy.query('commit');
    await settle(db);
    await expectSoundQueues(db);
    expect(granted).toBeGreaterThan(20);
  },
);
