-- Brief decisions as those get them who did not ask for brief ones, earlier programs among them: with the whole lease, and
-- a new grant as held.
create or replace function signalbox.whole_leases(p_decisions signalbox_v1.decision[]) returns signalbox_v1.decision[]
language plpgsql
as $$
begin
  return array(
    select case when d.code in ('granted', 'renewed')
      then (d.item, case d.code when 'granted' then 'held' else d.code end, d.queue, d.claim_id, (
          select signalbox.lease_body(l) from signalbox.leases l
          where l.queue = d.queue and l.slot = (d.body ->> 'slot')::integer limit 1))::signalbox_v1.decision
      else (d.item, d.code, d.queue, d.claim_id, d.body)::signalbox_v1.decision end
    from unnest(p_decisions) with ordinality d order by d.ordinality);
end $$;
