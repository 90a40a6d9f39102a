-- Writes that these tokens were used just now, at most once a minute each, whatever the number of replicas. Rows that
-- another replica is writing are skipped: it says the same.
create or replace function signalbox_v1.note_token_use(p_token_ids text[]) returns void
language sql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '250ms'
as $$
  update signalbox.tokens t set last_used_at = signalbox.clock()
  from (
    select d.token_id from signalbox.tokens d
    where d.token_id = any (p_token_ids)
      and (d.last_used_at is null or d.last_used_at <= signalbox.clock() - interval '1 minute')
    order by d.token_id for no key update skip locked) due
  where t.token_id = due.token_id
$$;
