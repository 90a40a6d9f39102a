-- Makes the daily partitions of history and events from yesterday to p_days_ahead days ahead, those that are missing.
-- LIKE, then ATTACH: attaching an empty table does not stop writers. Safe to run from many processes.
create or replace function signalbox.make_partitions(p_days_ahead integer) returns integer
language plpgsql
as $$
declare
  v_parent text;
  v_day date;
  v_name text;
  v_made integer := 0;
begin
  perform pg_advisory_xact_lock(hashtext('signalbox.make_partitions'));
  foreach v_parent in array array['history', 'events'] loop
    for v_day in
      select d::date from generate_series(
        (signalbox.clock() at time zone 'UTC')::date - 1, (signalbox.clock() at time zone 'UTC')::date + p_days_ahead,
        interval '1 day') d
    loop
      v_name := v_parent || '_' || to_char(v_day, 'YYYYMMDD');
      continue when to_regclass('signalbox.' || v_name) is not null;
      execute format('create table signalbox.%I (like signalbox.%I including defaults including constraints)',
        v_name, v_parent);
      execute format('alter table signalbox.%I attach partition signalbox.%I for values from (%L) to (%L)',
        v_parent, v_name, v_day::timestamp at time zone 'UTC', (v_day + 1)::timestamp at time zone 'UTC');
      v_made := v_made + 1;
    end loop;
  end loop;
  return v_made;
end $$;
