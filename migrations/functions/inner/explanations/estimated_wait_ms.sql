-- How long a waiting claim will probably wait still, by its position and what hold_outlook says: as if all went on as before,
-- nobody came in between, and each asked for one place. null = there is nothing to tell it from: no hold of this queue has
-- ended yet, or something else than holders keeps the claim waiting. A guess for people, nothing is decided by it.
create or replace function signalbox.estimated_wait_ms(
  p_line signalbox.lines, p_position bigint, p_waiting_for text, p_typical_ms bigint, p_free_in_ms bigint[]
) returns bigint
language sql immutable
as $$
  select case
    when p_waiting_for not in ('no_free_slot', 'behind_others', 'lock_delay') or p_line.concurrency_limit is null then null
    when p_line.wide then ceil(p_position::numeric * p_typical_ms / p_line.concurrency_limit)::bigint
    else p_free_in_ms[1 + (p_position - 1) % cardinality(p_free_in_ms)]
      + case when p_position <= cardinality(p_free_in_ms) then 0
          else (p_position - 1) / cardinality(p_free_in_ms) * p_typical_ms end end
$$;
