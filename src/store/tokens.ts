import type { Scope } from '../protocol/access.ts';
import type { Database } from './database.ts';

export interface LiveToken {
  readonly tokenId: string;
  readonly name: string;
  readonly hash: Buffer;
  readonly scope: Scope;
  readonly queuePrefix: string;
  /** From when the statement ran, by the database's clock; null = never. */
  readonly expiresInMs: number | null;
}

export interface TokensRead {
  /** Some token was made once, whatever became of it. */
  readonly exist: boolean;
  /** Neither revoked nor expired. */
  readonly live: readonly LiveToken[];
}

/** All tokens that are good now, and whether any was ever made: one statement, so both are of the same moment. */
export async function readTokens(db: Database, options: { readonly timeoutMs?: number } = {}): Promise<TokensRead> {
  const rows = await db.query<{
    exist: boolean;
    token_id: string | null;
    name: string;
    token_hash: Buffer;
    scope: Scope;
    queue_prefix: string;
    expires_in_ms: string | null;
  }>(
    'read',
    {
      sql: `select e.exist, t.token_id, t.name, t.token_hash, t.scope, t.queue_prefix,
              case when t.expires_at is not null then signalbox.ms_until(t.expires_at, signalbox.clock()) end
                as expires_in_ms
            from (select exists (select from signalbox.tokens) as exist) e
            left join signalbox.tokens t
              on t.revoked_at is null and (t.expires_at is null or t.expires_at > signalbox.clock())`,
      parameters: [],
    },
    options,
  );
  return {
    exist: rows[0]?.exist ?? false,
    live: rows.flatMap((row) =>
      row.token_id === null
        ? []
        : [
            {
              tokenId: row.token_id,
              name: row.name,
              hash: row.token_hash,
              scope: row.scope,
              queuePrefix: row.queue_prefix,
              expiresInMs: row.expires_in_ms === null ? null : Number(row.expires_in_ms),
            },
          ],
    ),
  };
}

/** Writes a token. Returns when it expires; null = never. */
export async function createToken(
  db: Database,
  token: {
    readonly tokenId: string;
    readonly hash: Buffer;
    readonly name: string;
    readonly scope: Scope;
    readonly queuePrefix: string;
    readonly lifetimeMs: number | null;
    readonly createdBy: string;
  },
): Promise<Date | null> {
  const [row] = await db.query<{ expires_at: Date | null }>('read', {
    sql: 'select signalbox_v1.create_token($1, $2, $3, $4, $5, $6, $7) as expires_at',
    parameters: [
      token.tokenId,
      token.hash,
      token.name,
      token.scope,
      token.queuePrefix,
      token.lifetimeMs,
      token.createdBy,
    ],
  });
  return row?.expires_at ?? null;
}

export type Revocation = 'revoked' | 'already_revoked' | 'token_not_found';

/** Ends a token under its row's lock. Replicas are told by the same commit. */
export async function revokeToken(db: Database, tokenId: string, actor: string): Promise<Revocation> {
  const [row] = await db.query<{ revocation: Revocation }>('read', {
    sql: 'select signalbox_v1.revoke_token($1, $2) as revocation',
    parameters: [tokenId, actor],
  });
  return row?.revocation ?? 'token_not_found';
}

/** Writes that tokens were used; at most once a minute each. */
export async function noteTokenUse(
  db: Database,
  tokenIds: readonly string[],
  options: { readonly timeoutMs?: number } = {},
): Promise<void> {
  await db.query('read', { sql: 'select signalbox_v1.note_token_use($1)', parameters: [tokenIds] }, options);
}

export interface TokenRow {
  readonly token_id: string;
  readonly name: string;
  readonly scope: Scope;
  readonly queue_prefix: string;
  readonly state: 'live' | 'revoked' | 'expired';
  readonly created_at: Date;
  readonly created_by: string;
  readonly expires_at: Date | null;
  readonly revoked_at: Date | null;
  readonly last_used_at: Date | null;
}

/** Every token ever made, oldest first. */
export function listTokens(db: Database): Promise<readonly TokenRow[]> {
  return db.query<TokenRow>('read', {
    sql: `select token_id, name, scope, queue_prefix, state, created_at, created_by, expires_at, revoked_at, last_used_at
          from signalbox_v1.tokens order by created_at, token_id`,
    parameters: [],
  });
}
