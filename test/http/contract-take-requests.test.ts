import { describe, expect, it } from 'vitest';
import { freshDatabase } from '../support/database.ts';
import { anId } from '../support/http-client.ts';
import { aToken, type MadeToken, startTokenApp } from '../support/token-app.ts';

const encoded = encodeURIComponent;

describe('the request_id of a take', () => {
  it.each([
    ['has something to take there', true],
    ['has nothing to take there', false],
  ])(
    "used by another token for its own prefix, which %s, is 409 and shows nothing of the first one's",
    async (_, isReady) => {
      await using database = await freshDatabase();
      const mine = await aToken(database, { scope: 'use', prefix: 'mine/' });
      const theirs = await aToken(database, { scope: 'use', prefix: 'theirs/' });
      await using app = await startTokenApp(database);
      const ask = async (token: MadeToken, path: string, body: object) => {
        const { status, text } = await app.ask('POST', path, { token, body });
        return { status, text, body: JSON.parse(text) as { claims?: { claim_id: string; fencing_token: number }[] } };
      };
      await ask(mine, `/v1/queues/${encoded('mine/q')}/enqueue`, { claim_id: 'my-run', payload: 'my-secret' });
      if (isReady) await ask(theirs, `/v1/queues/${encoded('theirs/q')}/enqueue`, { claim_id: 'their-run' });
      const request = { holder: 'worker', request_id: 'r', max: 5 };
      const first = await ask(mine, '/v1/take', { ...request, prefix: 'mine/' });
      expect(first.body.claims).toMatchObject([{ claim_id: 'my-run', payload: 'my-secret' }]);

      for (const source of [{ prefix: 'theirs/' }, { queue: 'theirs/q' }]) {
        const other = await ask(theirs, '/v1/take', { ...request, ...source });
        expect(other).toMatchObject({ status: 409, body: { code: 'request_id_reused' } });
        expect(other.text).not.toMatch(/my-run|my-secret|mine|fencing_token/);
      }
      const again = await ask(mine, '/v1/take', { ...request, prefix: 'mine/' });
      expect(again.body.claims).toMatchObject([
        { claim_id: 'my-run', fencing_token: first.body.claims?.[0]?.fencing_token, payload: 'my-secret' },
      ]);
      const { body } = await ask(theirs, '/v1/take', { ...request, request_id: 'r2', prefix: 'theirs/' });
      expect(body.claims?.map(({ claim_id }) => claim_id)).toEqual(isReady ? ['their-run'] : []);
    },
  );

  it('of a queue is another request than that of a prefix of the same name', async () => {
    await using database = await freshDatabase();
    const token = await aToken(database, { scope: 'use' });
    await using app = await startTokenApp(database);
    const queue = anId('q');
    const take = async (body: object) => {
      const { status, text } = await app.ask('POST', '/v1/take', { token, body: { holder: 'worker', ...body } });
      return { status, body: JSON.parse(text) as { claims?: object[] } };
    };
    for (const claim_id of ['a', 'b'])
      await app.ask('POST', `/v1/queues/${queue}/enqueue`, { token, body: { claim_id } });
    const reused = { status: 409, body: { code: 'request_id_reused' } };
    for (const [request_id, source, other, claims] of [
      ['r1', { queue }, { prefix: queue }, [{ claim_id: 'a' }]],
      // Given nothing, it is not remembered: then there is nothing to be mistaken for.
      ['r2', { prefix: queue }, { queue }, []],
    ] as const) {
      expect((await take({ request_id, ...source })).body.claims).toMatchObject(claims);
      expect(await take({ request_id, ...other })).toMatchObject(
        claims.length > 0 ? reused : { status: 200, body: { claims: [] } },
      );
      expect((await take({ request_id, ...source })).body.claims).toMatchObject(claims);
    }
  });
});
