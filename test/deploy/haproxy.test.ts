import { describe, expect, test } from 'vitest';
import { leaveOut, readText } from '../support/deployment.ts';
import { freshDatabase } from '../support/database.ts';
import { checkConfig, configFor, Door, findHaproxy } from '../support/haproxy.ts';
import { anId, type Problem, TestClient } from '../support/http-client.ts';
import { startReplica } from '../support/replica.ts';
import { RawServer } from '../support/raw-server.ts';
import { until } from '../support/until.ts';

const program = findHaproxy() ?? '';
if (program === '') leaveOut('the door', 'haproxy is not installed');

describe.skipIf(program === '')('deploy/haproxy.cfg', () => {
  test('is accepted, as it stands and with the addresses of this machine', async () => {
    const here = await configFor({ port: 8080, replicas: [1, 2, 3].map((port) => `http://127.0.0.1:${port}`) });
    const checked = await checkConfig(program, here);
    expect(checked).toEqual({ exitCode: 0, said: expect.not.stringContaining('WARNING') as string });
    const { exitCode, said } = await checkConfig(program, await readText('deploy/haproxy.cfg'));
    expect(exitCode, said).toBe(0);
  });
});

/** The status of a call with this body. */
async function post(door: Door, path: string, body: string): Promise<number> {
  const reply = await fetch(`${door.url}${path}`, { method: 'POST', body });
  await reply.text();
  return reply.status;
}

describe.skipIf(program === '')('the door', () => {
  test.each(['breaks off', '503'] as const)(
    'asks another replica when one answers a call so: %s; also with the largest body',
    async (answer) => {
      await using bad = await RawServer.start(answer);
      await using good = await RawServer.start('200');
      await using alsoGood = await RawServer.start('200');
      await using door = await Door.start(program, [bad.url, good.url, alsoGood.url]);
      const body = JSON.stringify({ claim_id: anId('claim'), padding: 'x'.repeat(65_000) });
      const calls = 100;
      const replies = await Promise.all(Array.from({ length: calls }, () => post(door, '/v1/queues/q/acquire', body)));
      expect(new Set(replies)).toEqual(new Set([200]));
      expect(bad.bodies.length).toBeGreaterThan(0);
      expect([...good.bodies, ...alsoGood.bodies]).toEqual(Array.from({ length: calls }, () => body));
    },
  );

  test.each([
    ['an acquire without a claim', '/v1/queues/q/acquire'],
    ['an enqueue without one', '/v1/queues/q/enqueue'],
    ['a take without a request', '/v1/take'],
    ['a batch', '/v1/batch'],
  ])('does not ask twice what would happen twice: %s', async (_what, path) => {
    await using bad = await RawServer.start('breaks off');
    await using good = await RawServer.start('200');
    await using door = await Door.start(program, [bad.url, good.url, good.url]);
    const calls = 100;
    const body = JSON.stringify({ holder: 'nameless' });
    const replies = await Promise.all(Array.from({ length: calls }, () => post(door, path, body)));
    expect(bad.bodies.length).toBeGreaterThan(0);
    expect(good.bodies).toHaveLength(calls - bad.bodies.length);
    expect(replies.filter((status) => status === 502)).toHaveLength(bad.bodies.length);
  });

  test('answers for itself as a replica would: a problem document with a code and a time to come again', async () => {
    const gone = await RawServer.start('200');
    await using door = await Door.start(program, [gone.url, gone.url, gone.url]);
    await gone[Symbol.asyncDispose]();
    await until(() => door.turns('replica-3', 'DOWN') === 1, { what: 'the door has seen it' });
    const reply = await new TestClient(door.url).ask<Problem>('GET', '/v1/queues');
    expect(reply).toMatchObject({ status: 503, body: { status: 503, code: 'not_ready', retry_after_ms: 1000 } });
    expect(reply.headers.get('content-type')).toBe('application/problem+json');
    expect(reply.headers.get('retry-after')).toBe('1');
  });

  test('tells the replica that a client hung up in its long-poll, so that its claim is not heard any more', async () => {
    await using database = await freshDatabase();
    await using replica = await startReplica({ databaseUrl: database.url, directUrl: database.directUrl });
    await using door = await Door.start(program, [replica.url, replica.url, replica.url]);
    const queue = anId('line');
    const client = new TestClient(door.url);
    await replica.client.hold(queue, { ttl_ms: 120_000 });
    const hangingUp = new AbortController();
    const poll = client.acquire(queue, { claim_id: 'gone', wait_ms: 60_000 }, { signal: hangingUp.signal });
    poll.catch(() => undefined);
    const waitingClients = async () =>
      Number(/^signalbox_waiting_clients (\d+)$/m.exec(await (await fetch(`${replica.url}/metrics`)).text())?.[1]);
    await until(async () => (await waitingClients()) === 1, { what: 'it waits' });
    hangingUp.abort();
    await until(async () => (await waitingClients()) === 0, { what: 'the replica knows', timeoutMs: 3000 });
  });
});
