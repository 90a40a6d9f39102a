-- 1 for a claim that asks for more than one place, of its queue or of others as well: what lines.several counts.
create or replace function signalbox.asks_several(p_weight integer, p_joint jsonb) returns integer
language sql immutable
as $$ select (p_weight > 1 or p_joint is not null)::integer $$;
