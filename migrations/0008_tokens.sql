-- Who may call the service. A row is never deleted: that a token ever existed is what turns authentication on, and
-- revoking the last one must not open the service. A new table, so no lock matters.
-- The hash is plain SHA-256 of the secret: the secret is 256 random bits, so there is no dictionary to try and nothing
-- that a slow, salted hash would protect; a fast one lets every request be checked.
create table signalbox.tokens (
  token_id text collate "C" not null,
  name text not null,
  token_hash bytea not null,
  scope text collate "C" not null,
  queue_prefix text collate "C" not null default '',
  created_at timestamptz not null,
  created_by text not null,
  expires_at timestamptz,
  revoked_at timestamptz,
  last_used_at timestamptz,
  constraint tokens_pkey primary key (token_id),
  constraint tokens_hash_unique unique (token_hash),
  constraint tokens_id_form check (token_id ~ '^[0-9a-f]{12}$'),
  constraint tokens_name_length check (length(name) between 1 and 200),
  constraint tokens_hash_is_sha256 check (octet_length(token_hash) = 32),
  constraint tokens_scope_known check (scope in ('read', 'use', 'admin')),
  constraint tokens_prefix_form check (queue_prefix ~ '^[A-Za-z0-9._:/@-]{0,200}$'),
  constraint tokens_created_by_length check (length(created_by) between 1 and 200),
  constraint tokens_expire_after_creation check (expires_at > created_at)
) with (fillfactor = 70);
comment on table signalbox.tokens is 'Bearer tokens, hashed. Rows are never deleted; any row at all means that calls need a token.';
comment on column signalbox.tokens.last_used_at is 'Written at most once a minute.';
