import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeToken } from '../../src/access/token-form.ts';
import { Database } from '../../src/store/database.ts';
import { listen } from '../../src/store/notifications.ts';
import { createToken, listTokens, noteTokenUse, readTokens, revokeToken } from '../../src/store/tokens.ts';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { anId } from '../support/http-client.ts';
import { until } from '../support/until.ts';

let database: TestDatabase;
let db: Database;
beforeAll(async () => {
  database = await freshDatabase();
  db = new Database({ url: database.url, connectTimeoutMs: 3000, statementTimeoutMs: 10_000 });
});
afterAll(async () => {
  await db.stop();
  await database[Symbol.asyncDispose]();
});

type NewRow = Parameters<typeof createToken>[1];

async function create(
  change: Partial<NewRow> = {},
): Promise<{ tokenId: string; hash: Buffer; expiresAt: Date | null }> {
  const { tokenId, hash } = makeToken();
  const row = {
    tokenId,
    hash,
    name: anId('t'),
    scope: 'use' as const,
    queuePrefix: '',
    lifetimeMs: null,
    createdBy: 'me',
  };
  const expiresAt = await createToken(db, { ...row, ...change });
  return { tokenId, hash, expiresAt };
}

const live = async (tokenId: string) => (await readTokens(db)).live.find((token) => token.tokenId === tokenId);
const rowOf = async (tokenId: string) => (await listTokens(db)).find((token) => token.token_id === tokenId);

describe('tokens', () => {
  it('exist from the first one on, also when all are revoked or expired', async () => {
    expect(await readTokens(db)).toEqual({ exist: false, live: [] });
    const { tokenId } = await create({ lifetimeMs: 1 });
    const other = await create();
    await revokeToken(db, other.tokenId, 'me');
    await until(async () => (await live(tokenId)) === undefined, { what: 'the token has expired' });
    expect(await readTokens(db)).toEqual({ exist: true, live: [] });
    expect(await rowOf(tokenId)).toMatchObject({ state: 'expired' });
    expect(await rowOf(other.tokenId)).toMatchObject({ state: 'revoked' });
  });

  it('are read as they were made, with what is left of their life', async () => {
    const { tokenId, hash, expiresAt } = await create({
      scope: 'read',
      queuePrefix: 'a/',
      name: 'x',
      lifetimeMs: 60_000,
    });
    expect(await live(tokenId)).toEqual({
      tokenId,
      hash,
      name: 'x',
      scope: 'read',
      queuePrefix: 'a/',
      expiresInMs: expect.any(Number) as number,
    });
    const expiresInMs = (await live(tokenId))?.expiresInMs ?? 0;
    expect(expiresInMs).toBeGreaterThan(50_000);
    expect(expiresInMs).toBeLessThanOrEqual(60_000);
    expect((await rowOf(tokenId))?.expires_at).toEqual(expiresAt);
    const forEver = await create();
    expect(forEver.expiresAt).toBeNull();
    expect((await live(forEver.tokenId))?.expiresInMs).toBeNull();
  });

  it('are revoked once and for ever; the row stays', async () => {
    const { tokenId } = await create();
    expect(await revokeToken(db, tokenId, 'me')).toBe('revoked');
    const { revoked_at: revokedAt } = (await rowOf(tokenId)) ?? {};
    expect(await revokeToken(db, tokenId, 'me')).toBe('already_revoked');
    expect((await rowOf(tokenId))?.revoked_at).toEqual(revokedAt);
    expect(await revokeToken(db, '000000000000', 'me')).toBe('token_not_found');
  });

  it('made and revoked are told to every replica by their own commit, and are events', async () => {
    const heard: string[] = [];
    await using connection = await listen(database.directUrl, (payload) => heard.push(payload), {
      connectTimeoutMs: 3000,
    });
    const { tokenId } = await create({ name: 'told' });
    await revokeToken(db, tokenId, 'me');
    await until(() => heard.length === 2, { what: 'both were heard' });
    expect(heard.map((text) => JSON.parse(text) as unknown)).toEqual([
      { from: 'tokens', tokens_changed: true },
      { from: 'tokens', tokens_changed: true },
    ]);
    expect(heard.join()).not.toContain(tokenId);
    const { rows } = await database.query(
      `select type, data from signalbox.events where data ->> 'token_id' = $1 order by id`,
      [tokenId],
    );
    expect(rows).toEqual([
      { type: 'token.created', data: { token_id: tokenId, actor: 'me' } },
      { type: 'token.revoked', data: { token_id: tokenId, actor: 'me' } },
    ]);
    await connection.probe();
  });

  it('have their last use written at most once a minute', async () => {
    const [first, second] = [await create(), await create()];
    await noteTokenUse(db, [first.tokenId, second.tokenId]);
    const usedAt = (await rowOf(first.tokenId))?.last_used_at;
    expect(usedAt).toBeInstanceOf(Date);
    await noteTokenUse(db, [first.tokenId]);
    expect((await rowOf(first.tokenId))?.last_used_at).toEqual(usedAt);
    await database.query(`update signalbox.tokens set last_used_at = last_used_at - interval '1 minute'`);
    await noteTokenUse(db, [first.tokenId]);
    expect((await rowOf(first.tokenId))?.last_used_at?.getTime()).toBeGreaterThanOrEqual(usedAt?.getTime() ?? Infinity);
  });

  it('that another replica is writing about are not waited for', async () => {
    const { tokenId } = await create();
    const other = await database.connect();
    await other.query('begin');
    await other.query('select from signalbox.tokens where token_id = $1 for update', [tokenId]);
    await noteTokenUse(db, [tokenId]);
    await other.query('rollback');
    expect((await rowOf(tokenId))?.last_used_at).toBeNull();
  });
});

describe('the table', () => {
  it.each<[string, Partial<NewRow>]>([
    ['an id of another form', { tokenId: 'ABC' }],
    ['a hash that is not SHA-256', { hash: Buffer.alloc(31) }],
    ['no name', { name: '' }],
    ['an unknown scope', { scope: 'root' as 'read' }],
    ['a prefix that no queue can have', { queuePrefix: 'a b' }],
    ['a life that is over', { lifetimeMs: -1 }],
  ])('refuses %s', async (_title, change) => {
    await expect(create(change)).rejects.toMatchObject({ code: '23514' });
  });

  it('refuses one hash twice', async () => {
    const { hash } = await create();
    await expect(create({ hash })).rejects.toMatchObject({ code: '23505' });
  });

  it('is decided about only in READ COMMITTED', async () => {
    const client = await database.connect();
    await client.query('begin isolation level serializable');
    await expect(client.query(`select signalbox_v1.revoke_token('000000000000')`)).rejects.toMatchObject({
      code: '25001',
    });
    await client.query('rollback');
  });

  it('shows its hashes in no view, and nothing to signalbox_reader', async () => {
    const { rows } = await database.query<{ column_name: string }>(
      `select column_name from information_schema.columns where table_schema = 'signalbox_v1' and table_name = 'tokens'`,
    );
    expect(rows.map(({ column_name: name }) => name)).not.toContain('token_hash');
    expect(rows.length).toBeGreaterThan(5);
    for (const relation of ['signalbox_v1.tokens', 'signalbox.tokens']) {
      const allowed = await database.query<{ allowed: boolean }>(
        `select has_table_privilege('signalbox_reader', $1, 'select') as allowed`,
        [relation],
      );
      expect(allowed.rows[0]?.allowed).toBe(false);
    }
    const callers = await database.query(
      `select p.proname from pg_proc p where p.pronamespace = 'signalbox_v1'::regnamespace and p.proname like '%token%'
         and has_function_privilege('signalbox_reader', p.oid, 'execute')`,
    );
    expect(callers.rows).toEqual([]);
  });
});
