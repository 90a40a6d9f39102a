-- When the last failover of the database was first seen; null = there was none, or it was accepted. Every decision asks, before
-- it locks a line, and the first that finds another timeline writes it down.
create or replace function signalbox.failover_at() returns timestamptz
language plpgsql
as $$
declare
  v_known signalbox.timeline;
begin
  select * into v_known from signalbox.timeline t where t.id = 1;
  if v_known.timeline is distinct from signalbox.current_timeline() then
    return signalbox.note_timeline();
  end if;
  return case when v_known.accepted_at is null then v_known.changed_at end;
end $$;
