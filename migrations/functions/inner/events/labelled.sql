-- What an event tells, with the labels of its claim if it has any: the feed is filtered by them. (One expression that names
-- p_data once: it is put into the statements that grant and release. stable, as jsonb_build_object is: else it would not.)
create or replace function signalbox.labelled(p_data jsonb, p_labels jsonb) returns jsonb
language sql stable
as $$ select p_data || case when p_labels = '{}' then '{}' else jsonb_build_object('labels', p_labels) end $$;
