-- What an event tells, with the labels of its claim if it has any: the feed is filtered by them.
create or replace function signalbox.labelled(p_data jsonb, p_labels jsonb) returns jsonb
language sql immutable
as $$ select case when p_labels = '{}' then p_data else p_data || jsonb_build_object('labels', p_labels) end $$;
