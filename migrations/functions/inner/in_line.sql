-- A waiting row as one of `delayed`, so that both are handled alike: due_at is null for what is in line.
create or replace function signalbox.in_line(p_claim signalbox.waiting) returns signalbox.delayed
language sql immutable
as $$ select row(p_claim.*, null::timestamptz, false)::signalbox.delayed $$;
