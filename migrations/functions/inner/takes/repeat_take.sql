-- What a take with this request_id gave and is still held under the same tokens. From now on the request is closed: a first
-- call that is still at work adds nothing that nobody would learn of.
create or replace function signalbox.repeat_take(p_holder text, p_request_id text)
returns setof signalbox_v1.decision
language plpgsql
as $$
declare
  v_claims jsonb;
begin
  update signalbox.takes t set closed = true where t.holder = p_holder and t.request_id = p_request_id
    returning t.claims into v_claims;
  return query
    select null::integer, 'taken', c.queue, c.claim_id, signalbox.taken_body(l.lease, r.run)
    from jsonb_to_recordset(v_claims) as c(queue text, claim_id text, fencing_token bigint)
    cross join lateral (select n as line from signalbox.lines n where n.queue = c.queue limit 1) n
    cross join lateral (select signalbox.find_lease(n.line, c.claim_id) as lease) l
    cross join lateral (
      select r as run from signalbox.runs r where r.queue = c.queue and r.claim_id = c.claim_id limit 1) r
    where (l.lease).state = 'held' and (l.lease).holder = p_holder and (l.lease).fencing_token = c.fencing_token
      and (l.lease).expires_at > signalbox.clock();
end $$;
