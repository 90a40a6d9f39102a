import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { StallMeter } from '../support/stalls.ts';
import { aToken, expire, type MadeToken, revoke, startTokenApp, type TokenApp } from '../support/token-app.ts';
import { until } from '../support/until.ts';

let database: TestDatabase;
beforeEach(async () => {
  database = await freshDatabase();
});
afterEach(async () => {
  await database[Symbol.asyncDispose]();
});

const status = async (app: TokenApp, token?: MadeToken) =>
  (await app.ask('GET', '/v1/queues', token === undefined ? {} : { token })).status;

/** How long until this replica answers so, in ms. */
async function msUntilStatus(app: TokenApp, wanted: number, token?: MadeToken): Promise<number> {
  const startedMs = performance.now();
  await until(async () => (await status(app, token)) === wanted, { what: `the answer is ${wanted}` });
  return performance.now() - startedMs;
}

/** It answers so in time, or as much later as this machine made everybody wait. */
async function expectStatus(
  app: TokenApp,
  wanted: number,
  { withinMs, token }: { withinMs: number; token?: MadeToken },
): Promise<void> {
  await using stalls = new StallMeter(() => status(app));
  const tookMs = await msUntilStatus(app, wanted, token);
  expect(tookMs).toBeLessThan(withinMs + 3 * stalls.worstMs);
}

const listening = (app: TokenApp) =>
  until(
    async () =>
      (JSON.parse((await app.ask('GET', '/readyz')).text) as { details: { notifications_work: boolean } }).details
        .notifications_work,
    { what: 'notifications work' },
  );

describe('a token', () => {
  it('made while replicas run is good within a second in each, and revoked is refused within a second', async () => {
    await aToken(database);
    await using first = await startTokenApp(database);
    await using second = await startTokenApp(database);
    await Promise.all([listening(first), listening(second)]);
    const token = await aToken(database);
    for (const app of [first, second]) await expectStatus(app, 200, { withinMs: 1000, token });
    await revoke(database, token);
    for (const app of [first, second]) await expectStatus(app, 401, { withinMs: 1000, token });
  });

  it('revoked without a notification is refused within 6 s, by the poll', async () => {
    const token = await aToken(database);
    await using app = await startTokenApp(database);
    await listening(app);
    expect(await status(app, token)).toBe(200);
    await database.query('update signalbox.tokens set revoked_at = signalbox.clock()');
    await expectStatus(app, 401, { withinMs: 6000, token });
  });

  it('stops by itself when it expires, without another read', async () => {
    const token = await aToken(database);
    await database.query(`update signalbox.tokens set expires_at = signalbox.clock() + interval '2 seconds'`);
    await using app = await startTokenApp(database);
    expect(await status(app, token)).toBe(200);
    await expectStatus(app, 401, { withinMs: 2500, token });
  });
});

describe('the first token ever', () => {
  it('turns authentication on in all running replicas', async () => {
    await using first = await startTokenApp(database);
    await using second = await startTokenApp(database);
    await Promise.all([listening(first), listening(second)]);
    expect([await status(first), await status(second)]).toEqual([200, 200]);
    const token = await aToken(database);
    for (const app of [first, second]) {
      await expectStatus(app, 401, { withinMs: 1000 });
      expect(await status(app, token)).toBe(200);
    }
  });
});

describe('without a good token left', () => {
  it.each([
    ['revoked', revoke],
    ['expired', expire],
  ])('the last one %s does not open the service, a restart neither', async (_title, end) => {
    const token = await aToken(database);
    {
      await using app = await startTokenApp(database);
      await end(database, token);
      await msUntilStatus(app, 401, token);
      expect(await status(app)).toBe(401);
    }
    await using again = await startTokenApp(database);
    expect([await status(again), await status(again, token)]).toEqual([401, 401]);
  });
});

describe('beyond loopback', () => {
  it('a replica without any token refuses to start', async () => {
    await expect(startTokenApp(database, { HOST: '0.0.0.0' })).rejects.toThrow(
      /HOST: 0\.0\.0\.0.*signalbox token create/,
    );
  });

  it('a replica starts once a token was made, and closes to all should the table be emptied', async () => {
    const token = await aToken(database);
    await using app = await startTokenApp(database, { HOST: '0.0.0.0' });
    expect([await status(app), await status(app, token)]).toEqual([401, 200]);
    await database.query('delete from signalbox.tokens');
    await msUntilStatus(app, 401, token);
    expect(await status(app)).toBe(401);
    expect((await app.ask('GET', '/readyz')).status).toBe(200);
  });

  it('SIGNALBOX_INSECURE=true lets anybody in only as long as no token was made', async () => {
    await using app = await startTokenApp(database, { HOST: '0.0.0.0', SIGNALBOX_INSECURE: 'true' });
    await listening(app);
    expect(await status(app)).toBe(200);
    await aToken(database);
    await expectStatus(app, 401, { withinMs: 1000 });
  });
});
