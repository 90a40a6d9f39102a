-- Gives queues the settings they inherit: those whose names begin with p_prefix, behind p_after, or these p_queues. Live at
-- once, as configure. At most p_max queues and about as many grants: code 'next' carries the name to go on behind. A line that
-- somebody else has is skipped and told as 'line_busy': ask for it again. 'inherited': its settings changed. A program that
-- leads says so (p_leader, p_epoch; SB001 = deposed).
create or replace function signalbox_v1.inherit_settings(
  p_prefix text, p_after text default '', p_queues text[] default null, p_actor text default null,
  p_leader text default null, p_epoch bigint default null, p_max integer default 100
) returns setof signalbox_v1.decision
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '250ms'
set plan_cache_mode = force_generic_plan
as $$
declare
  v_names text[];
  v_locked text[];
  v_name text;
  v_line signalbox.lines;
  v_queue signalbox.queues;
  v_own text[];
  v_old jsonb;
  v_new jsonb;
  v_decision signalbox_v1.decision;
  v_moved integer := 0;
begin
  if p_leader is null then
    perform signalbox.require_read_committed();
  else
    perform signalbox.require_term(p_leader, p_epoch);
  end if;
  select array_agg(c.queue order by c.queue) into v_names from (
    select n.queue from signalbox.lines n
    where p_queues is null and n.queue > p_after and n.queue >= p_prefix and n.queue < signalbox.prefix_end(p_prefix)
    order by n.queue limit p_max) c;
  if p_queues is not null then
    select array_agg(c.queue order by c.queue) into v_names from (
      select n.queue from signalbox.lines n where n.queue = any(p_queues) order by n.queue limit p_max) c;
  end if;
  -- Locked before it is looked at: a change under way is not to be seen yet.
  select array_agg(l.queue) into v_locked from (
    select n.queue from signalbox.lines n where n.queue = any(v_names)
    order by n.queue for no key update skip locked) l;
  foreach v_name in array coalesce(v_names, '{}') loop
    if v_name <> all(coalesce(v_locked, '{}')) then
      p_after := v_name;
      return next (null, 'line_busy', v_name, null, null)::signalbox_v1.decision;
      continue;
    end if;
    if v_moved >= p_max then
      -- The rest is for the next call.
      if p_queues is null then
        exit;
      end if;
      return next (null, 'line_busy', v_name, null, null)::signalbox_v1.decision;
      continue;
    end if;
    p_after := v_name;
    select * into v_line from signalbox.lines n where n.queue = v_name;
    select * into v_queue from signalbox.queues q where q.queue = v_name;
    continue when v_queue.queue is null;
    v_own := signalbox.own_settings(v_line, v_queue);
    v_old := signalbox.settings_of(v_line, v_queue);
    select signalbox.fitting(signalbox.default_settings() || signalbox.pattern_of(v_name)
        || coalesce(jsonb_object_agg(s.key, s.value) filter (where s.key = any(v_own)), '{}'), v_own)
      into v_new from jsonb_each(v_old) s;
    continue when v_new = v_old;
    perform signalbox.write_settings(v_name, v_new, v_own, v_queue.auto_created);
    select jsonb_object_agg(s.key, s.value) into v_new from jsonb_each(v_new) s where s.value <> v_old -> s.key;
    perform signalbox.record_event('queue.changed', v_name, null,
      jsonb_build_object('inherited', v_new, 'version', v_queue.version + 1, 'actor', p_actor));
    return next (null, 'inherited', v_name, null, null)::signalbox_v1.decision;
    for v_decision in select * from signalbox.advance_line(v_name, p_max - v_moved) loop
      v_moved := v_moved + (v_decision.code <> 'ready')::integer;
      return next v_decision;
    end loop;
  end loop;
  if p_queues is null and (cardinality(v_names) >= p_max or p_after < v_names[cardinality(v_names)]) then
    return next (null, 'next', p_after, null, null)::signalbox_v1.decision;
  end if;
end $$;
