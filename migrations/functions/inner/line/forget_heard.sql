-- A poll locks its heard row without the line's lock, so a decision never waits for one: a row that is locked now is
-- left for the reaper. (Waiting here would deadlock two batches that poll each other's queues.)
create or replace function signalbox.forget_heard(p_queue text, p_claim_id text) returns void
language sql
as $$
  delete from signalbox.heard h where h.ctid = (
    select g.ctid from signalbox.heard g where g.queue = p_queue and g.claim_id = p_claim_id for update skip locked)
$$;
