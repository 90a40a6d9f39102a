-- Writes down that the timeline has changed, once, and since when. The row is not waited for: while somebody else is writing
-- it, it has changed just now. A row that is gone says nothing about what was lost: that is a change too.
create or replace function signalbox.note_timeline() returns timestamptz
language plpgsql
as $$
declare
  v_known signalbox.timeline;
  v_now timestamptz := signalbox.clock();
begin
  insert into signalbox.timeline (id, timeline) select 1, '' where not exists (select from signalbox.timeline t where t.id = 1)
    on conflict do nothing;
  select * into v_known from signalbox.timeline t where t.id = 1 for update skip locked;
  if v_known.timeline is null then
    return v_now;
  elsif v_known.timeline = signalbox.current_timeline() then
    return case when v_known.accepted_at is null then v_known.changed_at end;
  end if;
  update signalbox.timeline t
    set timeline = signalbox.current_timeline(), previous = nullif(v_known.timeline, ''), changed_at = v_now,
        changes = t.changes + 1, accepted_at = null, accepted_by = null
    where t.id = 1;
  perform signalbox.record_event('database.failover', null, null,
    jsonb_build_object('timeline', signalbox.current_timeline(), 'previous', nullif(v_known.timeline, '')));
  return v_now;
end $$;
