-- Webhooks: where the feed is sent to, and how far each has got. Only the leader moves a cursor. The secret is kept as it is,
-- since signing needs it: whoever reads this table can sign; the view shows none of it.
-- Versions come from one sequence, so a webhook made again never has the version of one deleted before. New, so no lock matters.
create sequence signalbox.webhook_versions as bigint;
create table signalbox.webhooks (
  name text collate "C" not null,
  url text not null,
  secret text not null,
  queue_prefix text collate "C" not null,
  types text[] collate "C",
  labels jsonb,
  enabled boolean not null,
  allow_http boolean not null,
  cursor_xid xid8 not null,
  cursor_id bigint not null,
  cursor_at timestamptz not null,
  failures integer not null default 0,
  next_attempt_at timestamptz,
  last_attempt_at timestamptz,
  last_status integer,
  last_error text,
  delivered_at timestamptz,
  may_have_lost_at timestamptz,
  version bigint not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  updated_by text,
  constraint webhooks_pkey primary key (name),
  constraint webhooks_name_form check (name ~ '^[A-Za-z0-9._:/@-]{1,200}$'),
  constraint webhooks_url_form check (url ~ '^https?://' and length(url) <= 4000),
  constraint webhooks_types_bound check (cardinality(types) between 1 and 100),
  constraint webhooks_labels_object check (jsonb_typeof(labels) = 'object'),
  constraint webhooks_failures_not_negative check (failures >= 0)
) with (fillfactor = 70);
comment on column signalbox.webhooks.cursor_at is 'When the last event it is done with happened; of a new one, when it was made.';
comment on column signalbox.webhooks.may_have_lost_at is 'When it went on where the events behind its cursor had been dropped with old history.';
