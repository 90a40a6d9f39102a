-- The backoff before the attempt after this one: it doubles up to the queue's bound, jittered to 50 to 100 %, so that what
-- failed together does not come back together.
create or replace function signalbox.retry_delay_ms(p_settings signalbox.queues, p_attempt integer) returns bigint
language sql volatile
as $$
  select (least(p_settings.retry_delay_max_ms::numeric,
      p_settings.retry_delay_ms * power(2::numeric, least(greatest(p_attempt, 1) - 1, 40)))
    * (0.5 + random()::numeric / 2))::bigint
$$;
