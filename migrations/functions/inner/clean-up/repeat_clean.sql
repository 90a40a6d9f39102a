-- What a clean with this request_id gave and is still held under the same tokens. As repeat_take closes a request, so does
-- this: what went out with the answer to a repeat stays where it is.
create or replace function signalbox.repeat_clean(p_holder text, p_request_id text)
returns setof signalbox_v1.decision
language plpgsql
as $$
declare
  v_claims jsonb;
begin
  update signalbox.takes t set closed = true where t.holder = p_holder and t.request_id = p_request_id
    returning t.claims into v_claims;
  return query
    select 0, 'cleaning', l.queue, l.claim_id, signalbox.cleaning_body(l)
    from jsonb_to_recordset(v_claims) as c(queue text, claim_id text, fencing_token bigint)
    join signalbox.leases l on l.queue = c.queue and l.claim_id = c.claim_id and l.fencing_token = c.fencing_token
    where l.state = 'held' and l.holder = p_holder and l.expires_at > signalbox.clock()
    order by l.slot;
end $$;
