import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { anId } from '../support/http-client.ts';
import { withoutLeader } from '../support/test-app.ts';
import { aToken, type MadeToken, startTokenApp, type TokenApp } from '../support/token-app.ts';
import { until } from '../support/until.ts';
import { recordingServer } from './recording-server.ts';

let database: TestDatabase;
let app: TokenApp;
let read: MadeToken;
let use: MadeToken;
let admin: MadeToken;
let mine: MadeToken;

beforeAll(async () => {
  database = await freshDatabase();
  await withoutLeader(database);
  read = await aToken(database, { scope: 'read' });
  use = await aToken(database, { scope: 'use' });
  admin = await aToken(database, { name: 'the operator' });
  mine = await aToken(database, { scope: 'read', prefix: 'mine/' });
  app = await startTokenApp(database);
});
afterAll(async () => {
  await app[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

const acquire = (queue: string, claimId: string) =>
  app.ask('POST', `/v1/queues/${encodeURIComponent(queue)}/acquire`, {
    token: use,
    body: { holder: `holder of ${claimId}`, claim_id: claimId },
  });

describe('a token of scope read', () => {
  it('does not keep a waiting claim alive by asking about it; one of scope use does', async () => {
    const queue = anId('q');
    await acquire(queue, 'first');
    await acquire(queue, 'second');
    const heardAt = async () =>
      (
        await database.query<{ at: string }>(`select heard_at::text as at from signalbox.heard where queue = $1`, [
          queue,
        ])
      ).rows[0]?.at;
    const before = await heardAt();
    expect(before).toBeDefined();
    const path = `/v1/queues/${queue}/claims/second`;
    expect(JSON.parse((await app.ask('GET', path, { token: read })).text)).toMatchObject({ state: 'waiting' });
    expect(await heardAt()).toBe(before);
    expect((await app.ask('GET', path, { token: use })).status).toBe(200);
    expect(await heardAt()).not.toBe(before);
  });

  it('does not accept an offer', async () => {
    const queue = anId('q');
    const { fencing_token } = JSON.parse((await acquire(queue, 'first')).text) as { fencing_token: number };
    await acquire(queue, 'second');
    await app.ask('POST', `/v1/queues/${queue}/claims/first/release`, { token: use, body: { fencing_token } });
    const offered = async () =>
      (await database.query<{ offered: boolean }>('select offered from signalbox.leases where queue = $1', [queue]))
        .rows[0]?.offered;
    expect(await offered()).toBe(true);
    const path = `/v1/queues/${queue}/claims/second`;
    expect(JSON.parse((await app.ask('GET', path, { token: read })).text)).toMatchObject({ state: 'held' });
    expect(await offered()).toBe(true);
    await app.ask('GET', path, { token: use });
    expect(await offered()).toBe(false);
  });

  it('may not wait: an open request would keep the claim alive', async () => {
    const answer = await app.ask('GET', `/v1/queues/${anId('q')}/claims/c?wait_ms=1`, { token: read });
    expect(answer.status).toBe(403);
    expect(JSON.parse(answer.text)).toMatchObject({ code: 'forbidden', required_scope: 'use' });
  });
});

describe('a queue prefix', () => {
  it('narrows the list, whatever prefix and cursor are asked for', async () => {
    const tag = anId('t');
    for (const queue of [`mine/${tag}-a`, `mine/${tag}-b`, `mind/${tag}`, `theirs/${tag}`]) await acquire(queue, 'c');
    const list = async (query: string) => {
      const { queues, next_cursor } = JSON.parse(
        (await app.ask('GET', `/v1/queues?${query}`, { token: mine })).text,
      ) as {
        queues: { queue: string }[];
        next_cursor: string | null;
      };
      return { names: queues.map(({ queue }) => queue), next_cursor };
    };
    const both = [`mine/${tag}-a`, `mine/${tag}-b`];
    expect((await list('')).names).toEqual(both);
    expect((await list('prefix=mi')).names).toEqual(both);
    expect((await list(`prefix=mine/${tag}-b`)).names).toEqual([both[1]]);
    expect(await list('prefix=theirs/')).toEqual({ names: [], next_cursor: null });
    expect((await list('cursor=a')).names).toEqual(both);
    expect(await list('cursor=theirs')).toEqual({ names: [], next_cursor: null });
    expect(await list('limit=1')).toEqual({ names: [both[0]], next_cursor: both[0] });
  });

  it('narrows the events, also those of one queue, and hides what is of no queue', async () => {
    const tag = anId('t');
    for (const queue of [`mine/${tag}`, `theirs/${tag}`]) await acquire(queue, 'c');
    const queuesIn = async (query: string, token: MadeToken) => {
      const { text } = await app.ask('GET', `/v1/events?limit=1000&${query}`, { token });
      return new Set((JSON.parse(text) as { events: { queue: string | null }[] }).events.map(({ queue }) => queue));
    };
    const all = await until(
      async () => {
        const seen = await queuesIn('', read);
        return seen.has(`theirs/${tag}`) ? seen : undefined;
      },
      { what: 'the feed has both' },
    );
    expect([...all]).toEqual(expect.arrayContaining([null, `mine/${tag}`, `theirs/${tag}`]));
    for (const query of ['', 'prefix=m', 'prefix=mine/']) {
      const seen = [...(await queuesIn(query, mine))];
      expect(seen).toContain(`mine/${tag}`);
      expect(seen.filter((queue) => queue?.startsWith('mine/') !== true)).toEqual([]);
    }
    for (const query of ['prefix=theirs/', `queue=theirs/${tag}`, `queue=theirs/${tag}&prefix=theirs/`])
      expect([...(await queuesIn(query, mine))]).toEqual([]);
  });

  it('narrows dead letters and blocked queues, also those of one queue', async () => {
    const tag = anId('t');
    const worker = await aToken(database, { scope: 'use', prefix: 'mine/' });
    const ask = async (path: string, body: object) =>
      JSON.parse((await app.ask('POST', path, { token: admin, body })).text) as Record<string, unknown>;
    for (const queue of [`mine/${tag}`, `theirs/${tag}`]) {
      const path = `/v1/queues/${encodeURIComponent(queue)}`;
      await app.ask('PUT', path, { token: admin, body: { on_failure: 'stop' } });
      await ask(`${path}/enqueue`, { claim_id: 'a', payload: `secret of ${queue}` });
      const { claims } = (await ask('/v1/take', { holder: 'h', queue })) as { claims: { fencing_token: number }[] };
      await ask(`${path}/claims/a/release`, { fencing_token: claims[0]?.fencing_token, outcome: 'failure' });
    }
    const queuesIn = async (list: string, token: MadeToken) => {
      const page = JSON.parse((await app.ask('GET', `/v1/${list}`, { token })).text) as Record<string, unknown>;
      expect(page['next_cursor'], list).toBeNull();
      return ((page['dead_letters'] ?? page['queues']) as { queue: string }[]).map(({ queue }) => queue);
    };
    for (const list of ['dead-letters', 'blocked']) {
      expect(await queuesIn(list, admin)).toEqual([`mine/${tag}`, `theirs/${tag}`]);
      for (const query of ['', '?prefix=mi', '?prefix=mine/', `?prefix=mine/${tag}`, '?cursor='])
        expect(await queuesIn(list + query, worker), query).toEqual([`mine/${tag}`]);
      expect(await queuesIn(`${list}?prefix=theirs/`, worker)).toEqual([]);
    }
    expect(await queuesIn(`dead-letters?queue=mine/${tag}`, worker)).toEqual([`mine/${tag}`]);
    expect(await queuesIn(`dead-letters?queue=theirs/${tag}`, worker)).toEqual([]);
  });

  it('is refused with the same words whether the queue exists or not', async () => {
    const existing = `theirs/${anId('q')}`;
    await acquire(existing, 'c');
    const answers = [existing, `theirs/${anId('q')}`].map(async (queue) => {
      const { status, text } = await app.ask('GET', `/v1/queues/${encodeURIComponent(queue)}`, { token: mine });
      return { status, text };
    });
    const [there, notThere] = await Promise.all(answers);
    expect(there).toEqual(notThere);
    expect(JSON.parse(there?.text ?? '')).toMatchObject({ status: 403, queue_prefix: 'mine/' });
  });

  it.each(['/v1/queues/mine%2F..%2Ftheirs', '/v1/queues/MINE%2Fq', '/v1/queues/mine', '/v1/queues/%2Fmine%2Fq'])(
    'is compared with the name as it will be used: %s',
    async (path) => {
      const { status } = await app.ask('GET', path, { token: mine });
      // The first one is a name of its own, not a path to somewhere else.
      expect(status).toBe(path.includes('..') ? 404 : 403);
    },
  );
});

describe('who did it', () => {
  it('the name of the token is the actor of PUT and DELETE, in the events', async () => {
    const queue = anId('q');
    await app.ask('PUT', `/v1/queues/${queue}`, { token: admin, body: { concurrency_limit: 2 } });
    await app.ask('DELETE', `/v1/queues/${queue}`, { token: admin });
    const { rows } = await database.query(
      `select type, data ->> 'actor' as actor from signalbox.events where queue = $1 and type like 'queue.%' order by id`,
      [queue],
    );
    expect(rows).toEqual(
      expect.arrayContaining([
        { type: 'queue.changed', actor: 'the operator' },
        { type: 'queue.deleted', actor: 'the operator' },
      ]),
    );
  });

  it('administration is logged with the token that did it, also a break, whose actor is what its body says', async () => {
    const queue = anId('q');
    await acquire(queue, 'c');
    const body = { reason: 'r', actor: 'somebody' };
    const broken = await app.ask('POST', `/v1/queues/${queue}/claims/c/break`, { token: admin, body });
    expect(JSON.parse(broken.text)).toMatchObject({ state: 'broken', actor: 'somebody' });
    const line = await until(
      () =>
        app
          .log()
          .split('\n')
          .find((text) => text.includes('/break') && text.includes(queue)),
      { what: 'the break is logged' },
    );
    expect(JSON.parse(line)).toMatchObject({ level: 30, caller: 'the operator', token_id: admin.tokenId });
  });

  it('last_used_at is written, in a batch', async () => {
    await app.ask('GET', '/v1/queues', { token: mine });
    await until(
      async () =>
        (
          await database.query('select from signalbox.tokens where token_id = $1 and last_used_at is not null', [
            mine.tokenId,
          ])
        ).rowCount,
      { what: 'the use is noted' },
    );
  });
});

describe('the Authorization header', () => {
  const bearer = () => `Bearer ${admin.token}`;
  it.each([
    ['once', () => ['authorization', bearer()], 200],
    ['twice, both the same', () => ['authorization', bearer(), 'Authorization', bearer()], 400],
    ['twice, the first one good', () => ['authorization', bearer(), 'authorization', 'Basic eDp5'], 400],
  ])('given %s', async (_title, headers, wanted) => {
    const status = await new Promise((resolve, reject) => {
      // As a list they are sent as they stand; then Host is ours to send too.
      request(`${app.app.url}/v1/queues`, { headers: ['host', 'x', ...headers()] }, (answer) => {
        answer.resume();
        resolve(answer.statusCode);
      })
        .on('error', reject)
        .end();
    });
    expect(status).toBe(wanted);
  });
});

describe('a route that does not say what it needs', () => {
  it('cannot be registered', async () => {
    await using server = recordingServer();
    expect(() => server.app.get('/v1/secret', async () => 'open')).toThrow('does not say what it is and needs');
  });
});
