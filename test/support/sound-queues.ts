import { expect } from 'vitest';
import { type Connection, rowsOf } from './sql-verbs.ts';

/** Each query finds what must never be there, in a state that was committed. */
const faults: Readonly<Record<string, string>> = {
  'a waiting counter differs from its rows': `
    select n.queue, n.waiting, (select count(*) from signalbox.waiting w where w.queue = n.queue) as rows
    from signalbox.lines n
    where n.waiting <> (select count(*) from signalbox.waiting w where w.queue = n.queue)`,
  'a held counter of a wide queue differs from its rows': `
    select n.queue, n.held, s.taken from signalbox.lines n cross join lateral (
      select count(*) as taken from signalbox.leases l
      where l.queue = n.queue and (l.state = 'held' or l.free_after is not null)) s
    where n.wide and n.held <> s.taken`,
  'a free list of a wide queue misses, repeats or invents slots': `
    select n.queue, c.listed, s.free from signalbox.lines n
    cross join lateral (
      with recursive chain (slot, length) as (
        select n.free_head, 1 where n.free_head is not null
        union all
        select l.next_free, c.length + 1 from chain c join signalbox.leases l on l.queue = n.queue and l.slot = c.slot
        where l.next_free is not null and c.length < 5000)
      select coalesce(array_agg(slot order by slot), '{}') as listed from chain) c
    cross join lateral (
      select coalesce(array_agg(l.slot order by l.slot), '{}') as free from signalbox.leases l
      where l.queue = n.queue and l.state = 'free' and l.free_after is null) s
    where n.wide and c.listed <> s.free`,
  'the newest token or top slot of a wide queue differs from its rows': `
    select n.queue, n.newest_token, n.top_slot from signalbox.lines n cross join lateral (
      select coalesce(max(l.fencing_token), 0) as token, coalesce(max(l.slot), 0) as slot
      from signalbox.leases l where l.queue = n.queue) s
    where n.wide and (n.newest_token <> s.token or n.top_slot <> s.slot)`,
  'the claims of a wide queue are not found by wide_slots': `
    (select l.queue, l.claim_id, l.slot from signalbox.leases l join signalbox.lines n using (queue)
     where n.wide and l.state = 'held' except select queue, claim_id, slot from signalbox.wide_slots)
    union all
    (select queue, claim_id, slot from signalbox.wide_slots except
     select l.queue, l.claim_id, l.slot from signalbox.leases l where l.state = 'held')`,
  'a claim is in two places': `
    select queue, claim_id, count(*) from (
      select queue, claim_id from signalbox.leases where state = 'held'
      union all select queue, claim_id from signalbox.waiting) places
    group by 1, 2 having count(*) > 1`,
  'a claim lives after it ended, or ended twice': `
    select h.queue, h.claim_id, count(*) from signalbox.history h where h.final
    group by 1, 2 having count(*) > 1
      or exists (select from signalbox.leases l where l.queue = h.queue and l.claim_id = h.claim_id and l.state = 'held')
      or exists (select from signalbox.waiting w where w.queue = h.queue and w.claim_id = h.claim_id)`,
  'two claims of a line have one place': `
    select queue, seq from signalbox.waiting group by 1, 2 having count(*) > 1`,
  'a token was granted twice in a queue': `
    select queue, fencing_token from (
      select queue, fencing_token from signalbox.leases where state = 'held'
      union all select queue, fencing_token from signalbox.history where fencing_token is not null) grants
    group by 1, 2 having count(*) > 1`,
  'tokens do not grow in the order of grants': `
    select * from (
      select queue, (data ->> 'fencing_token')::bigint as token,
        lag((data ->> 'fencing_token')::bigint) over (partition by queue order by id) as previous
      from signalbox.events where type = 'lease.granted') grants
    where token <= previous or token > 9007199254740991`,
  'a lease outlives its hold bound': `
    select queue, slot from signalbox.leases where state = 'held' and expires_at > hold_until`,
  'a free slot is still offered or asked to be released by nobody': `
    select queue, slot from signalbox.leases where state = 'free' and offered`,
};

/** The invariants of the tables, whatever happened before. */
export async function expectSoundQueues(on: Connection): Promise<void> {
  const found: Record<string, unknown> = {};
  for (const [fault, sql] of Object.entries(faults)) {
    const rows = await rowsOf(on, sql);
    if (rows.length > 0) found[fault] = rows;
  }
  expect(found).toEqual({});
}
