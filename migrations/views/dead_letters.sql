-- Runs that died or failed and are kept for an operator, without what they carry (that is in the view `payloads`): how the
-- last grant ended, and whether the line stands still behind it.
create or replace view signalbox_v1.dead_letters as
select
  x.queue, x.claim_id, x.reason, x.outcome, x.error, x.holder, x.attempts, x.max_attempts, x.priority, x.enqueued_at,
  x.died_at, x.blocks, x.labels
from signalbox.dead_letters x;
