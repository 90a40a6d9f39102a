-- Marks the waiting claims among the acquires of a batch as heard, by their own holder only, and answers those whose
-- line cannot move now. No line is locked: 5,000 waiters polling do not queue behind grants.
create or replace function signalbox.hear_waiting(p_operations signalbox.operation[])
returns setof signalbox_v1.decision
language plpgsql
as $$
begin
  -- Each item looks up its own rows (lateral, limit): a join of the two tables, planned while both were empty, would be
  -- kept in the cache when 100,000 claims wait, and take minutes.
  perform 1 from signalbox.heard h
    where h.ctid = any(array(
      select g.ctid
      from unnest(p_operations) x
      cross join lateral (
        select w.queue, w.claim_id from signalbox.waiting w
        where w.claim_id = x.claim_id and w.queue = x.queue and w.holder = x.holder limit 1) w
      cross join lateral (
        select h.ctid from signalbox.heard h where h.queue = w.queue and h.claim_id = w.claim_id limit 1) g
      where x.op = 'acquire' and x.fresh is not true))
    order by h.queue || '', h.claim_id for no key update; -- not by the index, which would be read whole
  if not found then
    return;
  end if;
  return query
    with found as materialized (
      select (i.ordinality - 1)::integer as item, i.listen_ms, w.claim, g.ctid
      from unnest(p_operations) with ordinality i
      cross join lateral (
        select w as claim from signalbox.waiting w
        where w.claim_id = i.claim_id and w.queue = i.queue and w.holder = i.holder limit 1) w
      cross join lateral (
        select h.ctid from signalbox.heard h where h.queue = i.queue and h.claim_id = i.claim_id limit 1) g
      where i.op = 'acquire' and i.fresh is not true),
    heard as (
      update signalbox.heard h
        set heard_at = signalbox.clock(),
            listens_until = signalbox.clock() + signalbox.ms(coalesce(f.listen_ms, 0))
        from found f
        where h.ctid = any(array(select o.ctid from found o)) and h.ctid = f.ctid
        returning f.item, f.claim)
    select h.item, 'waiting', (h.claim).queue, (h.claim).claim_id, signalbox.waiting_body(signalbox.in_line(h.claim))
    from heard h
    -- One that has waited for too long is ended by who decides.
    where ((h.claim).wait_until is null or (h.claim).wait_until > signalbox.clock())
      and not signalbox.can_advance((h.claim).queue);
end $$;
