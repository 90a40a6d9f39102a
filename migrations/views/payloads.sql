-- What runs carry, those that are not over and those kept as dead letters. Not granted to signalbox_reader: what users put
-- into their runs may be secret, also from who looks after queues.
create or replace view signalbox_v1.payloads as
select r.queue, r.claim_id, 'live' as state, r.payload from signalbox.runs r
union all
select x.queue, x.claim_id, 'dead', x.payload from signalbox.dead_letters x
union all
select i.queue, i.claim_id, 'inbox', i.payload from signalbox.inbox i;
