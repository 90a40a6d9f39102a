-- Remembers a request to take by its id: new; repeated (this holder asked with this id before; what it was given then is
-- all it gets); closed (a further page of a request that was repeated meanwhile: nobody would learn of what it gave).
create or replace function signalbox.open_take(p_holder text, p_request_id text, p_continues boolean) returns text
language plpgsql
as $$
begin
  if p_request_id is null then
    return 'new';
  end if;
  if p_continues then
    perform 1 from signalbox.takes t
      where t.holder = p_holder and t.request_id = p_request_id and not t.closed for no key update;
    return case when found then 'new' else 'closed' end;
  end if;
  insert into signalbox.takes (holder, request_id, taken_at) values (p_holder, p_request_id, signalbox.clock())
    on conflict (holder, request_id) do nothing;
  return case when found then 'new' else 'repeated' end;
end $$;
