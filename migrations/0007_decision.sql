-- What every verb returns. `item` is the index of the operation it answers, null for what happened to other claims;
-- `code` is the outcome; `body` is in the words and units of the HTTP contract.
create type signalbox_v1.decision as (item integer, code text, queue text, claim_id text, body jsonb);
