-- Two schemas: `signalbox` holds the tables and inner functions and is private; `signalbox_v1` is what programs and
-- people use (functions and views). Nothing exists yet, so no lock matters.
create schema if not exists signalbox;
create schema signalbox_v1;
comment on schema signalbox is 'Signalbox: private tables. Use the views and functions of signalbox_v1.';
comment on schema signalbox_v1 is 'Signalbox: documented views and versioned functions.';

-- Which set of SQL functions and views is in place. They are applied again when their text changed, and only by a
-- program that is not older than the one that applied them.
create table signalbox.function_set (
  id integer not null default 1,
  digest text not null,
  program_version text not null,
  applied_at timestamptz not null,
  constraint function_set_pkey primary key (id),
  constraint function_set_has_one_row check (id = 1)
);
