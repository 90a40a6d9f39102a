-- Why a grant is over, for who held it: that the run died with it is the run's story, not the grant's.
create or replace function signalbox.grant_end_reason(p_state text, p_reason text, p_outcome text) returns text
language sql immutable
as $$
  select case when p_state <> 'dead' then p_reason when p_outcome is null then 'expired' else 'released' end
$$;
