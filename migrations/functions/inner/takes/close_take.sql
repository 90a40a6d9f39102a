-- Remembers what a request was given. If that was nothing, the request is forgotten: made again, it may be given something.
create or replace function signalbox.close_take(
  p_holder text, p_request_id text, p_continues boolean, p_taken jsonb
) returns void
language plpgsql
as $$
begin
  if p_request_id is null then
    return;
  elsif p_taken <> '[]' then
    update signalbox.takes t set claims = t.claims || p_taken
      where t.holder = p_holder and t.request_id = p_request_id;
  elsif not p_continues then
    delete from signalbox.takes t where t.holder = p_holder and t.request_id = p_request_id;
  end if;
end $$;
