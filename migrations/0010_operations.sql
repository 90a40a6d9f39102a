-- One operation of a batch as decide() reads it, parsed once for all of its statements. What an operation does not say is
-- null. (The payload of an enqueue is not here: it goes its own way, as text.)
create type signalbox.operation as (
  op text collate "C",
  queue text collate "C",
  claim_id text collate "C",
  holder text collate "C",
  priority integer,
  ttl_ms integer,
  mode text collate "C",
  labels jsonb,
  metadata jsonb,
  listen_ms integer,
  fresh boolean,
  fencing_token bigint,
  outcome text collate "C",
  retry_after_ms bigint,
  error text,
  request_id text collate "C",
  uncounted boolean,
  reason text,
  actor text
);
