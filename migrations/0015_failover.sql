-- What is known of failovers: the timeline of the WAL as it was last seen. A standby that is promoted begins a new one, and an
-- asynchronous one may lack the last grants of its primary, in which their holders still believe. changed_at null: never.
create table signalbox.timeline (
  id integer not null default 1,
  timeline text collate "C" not null,
  previous text collate "C",
  changed_at timestamptz,
  changes integer not null default 0,
  accepted_at timestamptz,
  accepted_by text,
  constraint timeline_pkey primary key (id),
  constraint timeline_has_one_row check (id = 1),
  constraint timeline_accepted_by_length check (length(accepted_by) <= 200)
) with (fillfactor = 50);
comment on table signalbox.timeline is 'Locked after orchestrator_lock and before lines, never waited for.';

insert into signalbox.timeline (id, timeline) values (1, substr(pg_walfile_name('1/0'), 1, 8));

-- The longest max_ttl_ms the queue has had, and when it was last lowered; null = it never was. Leases made before are longer.
alter table signalbox.queues
  add column longest_ttl_ms integer,
  add column ttl_lowered_at timestamptz;
