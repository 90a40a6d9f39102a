-- Whether a row of this queue belongs to a claim that was asked for in another one: its ticket or place here, not the claim.
create or replace function signalbox.is_elsewhere(p_joint jsonb, p_queue text) returns boolean
language sql immutable
as $$ select coalesce(p_joint ->> 'primary' <> p_queue, false) $$;
