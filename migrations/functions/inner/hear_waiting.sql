-- Marks the waiting claims among the acquires of a batch as heard, by their own holder only, and answers those whose
-- line cannot move now. No line is locked: 5,000 waiters polling do not queue behind grants.
create or replace function signalbox.hear_waiting(p_items jsonb) returns setof signalbox_v1.decision
language plpgsql
as $$
begin
  perform 1 from signalbox.heard h
    join signalbox.waiting w on w.claim_id = h.claim_id and w.queue = h.queue
    join jsonb_to_recordset(p_items) as x(op text, queue text, claim_id text, holder text, fresh boolean)
      on x.queue = h.queue and x.claim_id = h.claim_id and x.holder = w.holder
    where x.op = 'acquire' and x.fresh is not true
    order by h.queue, h.claim_id for no key update of h;
  if not found then
    return;
  end if;
  return query
    with items as (
      select (o.n - 1)::integer as item, x.* from jsonb_array_elements(p_items) with ordinality o(value, n),
        jsonb_to_record(o.value) as x(op text, queue text, claim_id text, holder text, listen_ms integer, fresh boolean)
      where x.op = 'acquire' and x.fresh is not true),
    heard as (
      update signalbox.heard h
        set heard_at = signalbox.clock(),
            listens_until = signalbox.clock() + signalbox.ms(coalesce(i.listen_ms, 0))
        from items i, signalbox.waiting w
        where h.queue = i.queue and h.claim_id = i.claim_id and w.claim_id = i.claim_id and w.queue = i.queue
          and w.holder = i.holder
        returning i.item, w as claim)
    select h.item, 'waiting', (h.claim).queue, (h.claim).claim_id, signalbox.waiting_body(h.claim)
    from heard h where not signalbox.can_advance((h.claim).queue);
end $$;
