-- Which dead letters of a queue an operator means: those of these ids that are there, or (null) the first p_max of all that
-- died by p_died_by.
create or replace function signalbox.letters_of(
  p_queue text, p_claim_ids text[], p_max integer, p_died_by timestamptz
) returns text[]
language plpgsql stable
as $$
begin
  if p_claim_ids is not null then
    return array(
      select distinct i.claim_id collate "C" from unnest(p_claim_ids) i(claim_id) cross join lateral (
        select 1 from signalbox.dead_letters x where x.queue = p_queue and x.claim_id = i.claim_id limit 1) o);
  end if;
  return array(
    select x.claim_id from signalbox.dead_letters x where x.queue = p_queue and x.reason <> '' and x.died_at <= p_died_by
    order by x.queue, x.died_at limit p_max);
end $$;
