-- A deciding function locks in one statement and decides in the next, on a newer snapshot. Under REPEATABLE READ or
-- SERIALIZABLE the second statement would still see the old one and grant a held slot again.
create or replace function signalbox.require_read_committed() returns void
language plpgsql
as $$
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'signalbox: this function decides, so it runs only in READ COMMITTED, not in %',
      upper(current_setting('transaction_isolation'))
      using errcode = '25001',
            hint = 'Call it outside your own transaction, or begin that with ISOLATION LEVEL READ COMMITTED.';
  end if;
end $$;
