-- Remembers a request to take by its id: new; repeated (this holder asked with this id before; what it was given then is
-- all it gets); closed (a further page of a request that was repeated meanwhile: nobody would learn of what it gave);
-- reused (the id was used for another queue or prefix, which this caller may have no business with).
create or replace function signalbox.open_take(
  p_holder text, p_request_id text, p_source text, p_continues boolean, p_may_give boolean
) returns text
language plpgsql
as $$
declare
  v_source text;
begin
  if p_request_id is null then
    return 'new';
  end if;
  if p_continues then
    perform 1 from signalbox.takes t
      where t.holder = p_holder and t.request_id = p_request_id and not t.closed for no key update;
    return case when found then 'new' else 'closed' end;
  end if;
  if p_may_give then
    insert into signalbox.takes (holder, request_id, source, taken_at)
      values (p_holder, p_request_id, p_source, signalbox.clock())
      on conflict (holder, request_id) do nothing;
    if found then
      return 'new';
    end if;
  end if;
  select t.source into v_source from signalbox.takes t where t.holder = p_holder and t.request_id = p_request_id;
  -- Not found after all: what it gave went back between these two statements, so it counts as never made.
  return case when v_source = p_source then 'repeated' when v_source is not null then 'reused' when not p_may_give then 'new'
    else signalbox.open_take(p_holder, p_request_id, p_source, false, true) end;
end $$;
