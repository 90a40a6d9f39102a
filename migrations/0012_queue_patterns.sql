-- Defaults by name pattern. A queue keeps its effective settings where it always had them, so no decision reads patterns;
-- they are read when a queue is made, and a changed one is spread over its queues. settings null: deleted, kept until its
-- queues have been told. reached_version: the version all its queues have.
-- Versions come from one sequence, so a pattern made again never has the version of one deleted before.
create sequence signalbox.pattern_versions as bigint;
create table signalbox.queue_patterns (
  pattern text collate "C" not null,
  settings jsonb,
  version bigint not null,
  reached_version bigint not null default 0,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  updated_by text,
  constraint queue_patterns_pkey primary key (pattern),
  constraint queue_patterns_name_form check (pattern ~ '^[A-Za-z0-9._:/@-]{0,199}[*]$'),
  constraint queue_patterns_settings_form check (jsonb_typeof(settings) = 'object'),
  constraint queue_patterns_reached_exists check (reached_version between 0 and version)
);
comment on table signalbox.queue_patterns is 'Defaults of queues by the beginning of their name; the longest wins.';

-- Which settings are the queue's own, so that no pattern changes them. null: set before there were patterns, see
-- signalbox.own_settings. A constant default and no look at the rows: locked for a moment only.
alter table signalbox.queues
  add column own_settings text[] collate "C",
  add constraint queues_own_settings_bound check (cardinality(own_settings) <= 100) not valid;

-- What the last apply of a file made, by its label: what another one may take away.
create table signalbox.applied_files (
  label text collate "C" not null,
  made jsonb not null,
  version bigint not null default 1,
  applied_at timestamptz not null,
  applied_by text,
  constraint applied_files_pkey primary key (label),
  constraint applied_files_label_length check (length(label) between 1 and 200),
  constraint applied_files_made_form check (jsonb_typeof(made) = 'object')
);
