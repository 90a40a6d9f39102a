import { expect } from 'vitest';
import { type Connection, rowsOf } from './sql-verbs.ts';

/** Each query finds what must never be there, in a state that was committed. */
const faults: Readonly<Record<string, string>> = {
  'a counter of a line differs from its rows': `
    select n.queue, n.waiting, n.runs, n.several, n.delayed, n.blockers, n.dead, c.* from signalbox.lines n cross join lateral (
      select count(*) filter (where w.kind = 'claim') as claims, count(*) filter (where w.kind = 'run') as runs_in_line,
        count(*) filter (where w.weight > 1 or w.joint is not null) as several_in_line
      from signalbox.waiting w where w.queue = n.queue) w
    cross join lateral (
      select w.claims, w.runs_in_line, w.several_in_line,
        (select count(*) from signalbox.delayed d where d.queue = n.queue) as rows_delayed,
        (select count(*) from signalbox.delayed d where d.queue = n.queue and d.blocks)
          + (select count(*) from signalbox.dead_letters x where x.queue = n.queue and x.blocks) as rows_blocking,
        (select count(*) from signalbox.dead_letters x where x.queue = n.queue) as rows_dead) c
    where (n.waiting, n.runs, n.several, n.delayed, n.blockers, n.dead)
      <> (c.claims, c.runs_in_line, c.several_in_line, c.rows_delayed, c.rows_blocking, c.rows_dead)`,
  'rows belong to a queue that does not exist': `
    select places.* from (
      select 'leases' as place, queue from signalbox.leases union select 'waiting', queue from signalbox.waiting
      union select 'delayed', queue from signalbox.delayed union select 'runs', queue from signalbox.runs
      union select 'dead_letters', queue from signalbox.dead_letters union select 'taken', queue from signalbox.taken
      union select 'ready_queues', queue from signalbox.ready_queues) places
    where places.queue not in (select queue from signalbox.lines)`,
  'something delayed is due before its line looks for it': `
    select n.queue, n.next_due_at, d.due_at from signalbox.lines n join signalbox.delayed d using (queue)
    where n.next_due_at is null or n.next_due_at > d.due_at`,
  'a run has no payload row, or one is left over': `
    select coalesce(p.queue, r.queue) as queue, coalesce(p.claim_id, r.claim_id) as claim_id, p.place
    from (
      select queue, claim_id, 'held' as place from signalbox.leases where state = 'held' and kind = 'run'
      union all select queue, claim_id, 'waiting' from signalbox.waiting where kind = 'run'
      union all select queue, claim_id, 'delayed' from signalbox.delayed where kind = 'run') p
    full join signalbox.runs r on r.queue = p.queue and r.claim_id = p.claim_id
    where p.queue is null or r.queue is null`,
  'what is taken differs from the held runs': `
    (select 'no lease' as fault, holder, queue, slot, claim_id, fencing_token from signalbox.taken
     except select 'no lease', holder, queue, slot, claim_id, fencing_token from signalbox.leases
       where state = 'held' and kind = 'run')
    union all
    (select 'not taken', holder, queue, slot, claim_id, fencing_token from signalbox.leases
       where state = 'held' and kind = 'run'
     except select 'not taken', holder, queue, slot, claim_id, fencing_token from signalbox.taken)`,
  // A lock delay passes by itself; then the leader finds the queue within a second.
  'a run may be taken, and its queue is not among the ready ones': `
    select n.queue, h.claim_id from signalbox.lines n cross join lateral (
      select w.claim_id, w.place, w.seq, w.rank from signalbox.waiting w
      where w.queue = n.queue and w.kind = 'run' order by w.place, w.seq, w.rank limit 1) h
    where not n.paused and not exists (
        select from signalbox.waiting w where w.queue = n.queue and w.kind = 'claim')
      and (n.concurrency_limit is null or n.concurrency_limit > (
        select coalesce(sum(l.weight), 0) from signalbox.leases l
        where l.queue = n.queue and (l.state = 'held' or l.free_after is not null)))
      and not exists (
        select from (
          select place, seq, rank from signalbox.delayed d where d.queue = n.queue and d.blocks
          union all select place, seq, rank from signalbox.dead_letters x where x.queue = n.queue and x.blocks) b
        where (b.place, b.seq, b.rank) < (h.place, h.seq, h.rank))
      and not exists (select from signalbox.ready_queues r where r.queue = n.queue)`,
  'something blocks that is no run, or was never tried': `
    select queue, claim_id, kind, attempts from signalbox.delayed where blocks and (kind <> 'run' or attempts = 0)`,
  'an attempt of a run is counted twice, or not at all': `
    select queue, claim_id, enqueued_at, count(*), max(attempt) from (
      select queue, claim_id, enqueued_at, attempt from signalbox.history
        where kind = 'run' and slot is not null and reason <> 'untaken'
      union all select queue, claim_id, enqueued_at, attempt from signalbox.leases
        where kind = 'run' and state = 'held') grants
    group by 1, 2, 3 having count(distinct attempt) <> count(*) or count(*) <> max(attempt)`,
  'the counter of dirty slots differs from them': `
    select n.queue, n.dirty, s.dirty from signalbox.lines n cross join lateral (
      select count(*) as dirty from signalbox.leases l
      where l.queue = n.queue and l.state = 'free' and l.free_after = 'infinity') s
    where n.dirty <> s.dirty`,
  'a slot is dirty where nothing is cleaned, or a clean one remembers whose it was': `
    select l.queue, l.slot, l.kind, l.free_after, l.rests_until, l.previous from signalbox.leases l
    join signalbox.lines n using (queue)
    where l.free_after = 'infinity' and not n.cleanup
      or l.rests_until is not null and l.free_after is distinct from 'infinity'
      or (l.previous is not null) <> (l.kind = 'cleaning' and (l.state = 'held' or l.free_after = 'infinity'))`,
  // The next grant of a slot after one that soiled it must be a cleaner's, and after a cleaner that failed another one.
  'a slot was granted that nobody had cleaned': `
    select * from (
      select e.queue, e.type, e.data -> 'slot' as slot, e.data ->> 'kind' as kind, e.data -> 'fencing_token' as token,
        lag(e.type) over (partition by e.queue, e.data -> 'slot' order by e.id) as before
      from signalbox.events e where e.type in ('lease.granted', 'slot.dirty', 'slot.cleaned')) grants
    where type = 'lease.granted' and before = 'slot.dirty' and kind is distinct from 'cleaning'
      and not exists (
        select from signalbox.events e where e.type = 'queue.changed' and e.queue = grants.queue
          and e.data -> 'settings' -> 'cleanup' = 'false')`,
  'a held counter of a wide queue differs from its rows': `
    select n.queue, n.held, s.taken from signalbox.lines n cross join lateral (
      select coalesce(sum(l.weight), 0) as taken from signalbox.leases l
      where l.queue = n.queue and (l.state = 'held' or l.free_after is not null)) s
    where n.wide and n.held <> s.taken`,
  'a line miscounts the claims that ask for several places': `
    select n.queue, n.several, c.several as rows from signalbox.lines n cross join lateral (
      select count(*) as several from signalbox.waiting w
      where w.queue = n.queue and (w.weight > 1 or w.joint is not null)) c
    where n.several <> c.several`,
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
  'a claim on several queues holds only some of its places, while nobody has yet to end them': `
    select l.queue, l.claim_id, x.queue as lacks from signalbox.leases l
    cross join lateral jsonb_to_recordset(l.joint -> 'places') as x(queue text, slot integer, fencing_token bigint)
    where l.state = 'held' and l.expires_at > signalbox.clock() and not exists (
        select from signalbox.leases o where o.queue = x.queue and o.slot = x.slot and o.state = 'held'
          and o.fencing_token = x.fencing_token and o.expires_at = l.expires_at and o.holder = l.holder)
      and not exists (select from signalbox.loose_ends e where e.queue = l.queue and e.fencing_token = l.fencing_token)
      and exists (select from signalbox.lines n where n.queue = x.queue)`,
  'a claim on several queues lacks a ticket, or left one': `
    (select w.claim_id, x.queue, 'lacks' as fault from signalbox.waiting w
     cross join lateral jsonb_to_recordset(w.joint -> 'queues') as x(queue text)
     where not exists (select from signalbox.waiting t where t.queue = x.queue and t.claim_id = w.claim_id)
       and w.joint ->> 'primary' = w.queue and exists (select from signalbox.lines n where n.queue = x.queue)
       and not exists (select from signalbox.loose_ends e where e.queue = x.queue and e.claim_id = w.claim_id))
    union all
    (select w.claim_id, w.queue, 'left' from signalbox.waiting w
     where w.joint ->> 'primary' <> w.queue
       and not exists (select from signalbox.waiting p where p.queue = w.joint ->> 'primary' and p.claim_id = w.claim_id)
       and not exists (select from signalbox.delayed p where p.queue = w.joint ->> 'primary' and p.claim_id = w.claim_id)
       and not exists (select from signalbox.leases p where p.queue = w.joint ->> 'primary' and p.claim_id = w.claim_id
         and p.state = 'held')
       and not exists (select from signalbox.loose_ends e where e.queue = w.queue and e.claim_id = w.claim_id))`,
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
      union all select queue, claim_id from signalbox.waiting
      union all select queue, claim_id from signalbox.delayed
      union all select queue, claim_id from signalbox.dead_letters) places
    group by 1, 2 having count(*) > 1`,
  // An id may be used again when its queue has forgotten it, and a run is redriven on purpose.
  'a claim lives after it ended, or ended twice': `
    select h.queue, h.claim_id, h.state, h.ended_at, again.since from signalbox.history h
    left join signalbox.queues q using (queue)
    join (
      select queue, claim_id, enqueued_at as since, null as place from signalbox.leases where state = 'held'
      union all select queue, claim_id, enqueued_at, null from signalbox.waiting
      union all select queue, claim_id, enqueued_at, null from signalbox.delayed
      union all select queue, claim_id, enqueued_at, ctid::text || tableoid from signalbox.history where final) again
      on again.queue = h.queue and again.claim_id = h.claim_id
    where h.final and again.place is distinct from h.ctid::text || h.tableoid
      and abs(extract(epoch from again.since - h.ended_at)) * 1000 < coalesce(q.claim_memory_ms, 86400000)
      and not exists (
        select from signalbox.events e
        where e.type = 'claim.redriven' and e.queue = h.queue and e.claim_id = h.claim_id)`,
  // A tenth of a second for what is decided by one look at the clock and granted by the next.
  'a claim was granted after its max_wait_ms': `
    select queue, claim_id, wait_until, acquired_at from signalbox.leases
    where state = 'held' and kind = 'claim' and acquired_at > wait_until + interval '100 ms'`,
  'two claims of a line have one place': `
    select queue, seq, rank from (
      select queue, seq, rank from signalbox.waiting union all select queue, seq, rank from signalbox.delayed
      union all select queue, seq, rank from signalbox.dead_letters
      union all select queue, seq, rank from signalbox.leases where state = 'held' and seq <> 0) places
    group by 1, 2, 3 having count(*) > 1`,
  'a turn was given twice, or the next one is taken': `
    select w.queue, w.kind, w.turn, t.next_turn, count(*) from (
      select w.queue, w.kind, coalesce(w.labels ->> q.rotate_by, '') as value, w.place - n.order_base + w.priority * 1000 as turn
      from signalbox.waiting w join signalbox.lines n using (queue) join signalbox.queues q using (queue)
      where n.rotates and w.attempts = 0 and w.place - n.order_base + w.priority * 1000 >= 0) w
    left join signalbox.turns t on t.queue = w.queue and t.kind = w.kind and t.value = w.value
    group by 1, 2, 3, 4, w.value having count(*) > 1 or coalesce(t.next_turn, 0) <= w.turn`,
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

/**
 * The invariants of the tables, whatever happened before. Tests ask thousands of times, and planning is most of the cost: the
 * statements are prepared, so the connection must not be a pooler's.
 */
export async function expectSoundQueues(on: Connection): Promise<void> {
  const found: Record<string, unknown> = {};
  for (const [index, [fault, text]] of Object.entries(faults).entries()) {
    const rows = await rowsOf(on, { name: `sound queues ${index}`, text });
    if (rows.length > 0) found[fault] = rows;
  }
  expect(found).toEqual({});
}
