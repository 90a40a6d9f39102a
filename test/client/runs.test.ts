import { describe, expect, it } from 'vitest';
import { type LeaseKey, ServiceUnreachableError, SignalboxClient } from '../../src/client/index.ts';
import { aHeldClaim, type Answer, problem, ScriptedService } from './scripted-service.ts';

const quickRetry = { attempts: 3, firstMs: 1, maxMs: 5 };

async function scripted(answer: (number: number) => Answer) {
  const service = await ScriptedService.start((_asked, number) => answer(number));
  const client = new SignalboxClient({ url: service.url, retry: quickRetry });
  return { service, client, [Symbol.asyncDispose]: () => service[Symbol.asyncDispose]() };
}

/** With more fields than a key has, as leases come from the service. */
const lease = aHeldClaim({ queue: 'a/b' }) as unknown as LeaseKey;

describe('the client', () => {
  it('enqueues under an id of its own, so that a repeat is the same run, and tells whether it is new', async () => {
    await using at = await scripted((number) =>
      number === 1 ? 'hang up' : { status: number === 2 ? 201 : 200, body: { claim_id: 'c', state: 'waiting' } },
    );
    const payload = { to: 'you', parts: [1, null] };
    expect(await at.client.enqueue('a/b', { payload, delay_ms: 5 })).toEqual({
      created: true,
      claim: { claim_id: 'c', state: 'waiting' },
    });
    expect(await at.client.enqueue('q', { claim_id: 'mine' })).toMatchObject({ created: false });
    const [first, second, third] = at.service.asked;
    expect(first?.url).toBe('/v1/queues/a%2Fb/enqueue');
    expect(first?.body).toMatchObject({ payload, delay_ms: 5 });
    expect(first?.body?.['claim_id']).toMatch(/^[0-9a-f-]{36}$/);
    expect(second?.body).toEqual(first?.body);
    expect(third?.body).toEqual({ claim_id: 'mine' });
  });

  it('sends nothing for a payload that JSON cannot write: no failure of the service', async () => {
    await using at = await scripted(() => 'silence');
    const circle: Record<string, unknown> = {};
    circle['self'] = circle;
    for (const payload of [1n, circle]) {
      const error = await at.client.enqueue('q', { payload }).catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(TypeError);
      expect(error).not.toBeInstanceOf(ServiceUnreachableError);
    }
    expect(at.service.asked).toEqual([]);
  });

  it('takes under a request id, so that a repeat after a lost answer gets the same runs', async () => {
    await using at = await scripted((number) =>
      number === 1 ? 'hang up' : { status: 200, body: { claims: [lease] } },
    );
    expect(await at.client.take({ holder: 'h', prefix: '', max: 5, wait_ms: 100 })).toEqual([lease]);
    const [first, second] = at.service.asked;
    expect(first).toMatchObject({ url: '/v1/take', body: { holder: 'h', prefix: '', max: 5, wait_ms: 100 } });
    expect(first?.body?.['request_id']).toMatch(/^[0-9a-f-]{36}$/);
    expect(second?.body).toEqual(first?.body);
    await at.client.take({ holder: 'h', queue: 'q', request_id: 'mine' });
    expect(at.service.asked[2]?.body).toEqual({ holder: 'h', queue: 'q', request_id: 'mine' });
  });

  it('releases to be retried, with the time to wait and the error, or uncounted', async () => {
    await using at = await scripted(() => ({ status: 200, body: { released: true, state: 'delayed' } }));
    const answer = await at.client.release(lease, { outcome: 'retry', retryAfterMs: 1500, error: 'no luck' });
    expect(answer).toEqual({ released: true, state: 'delayed' });
    await at.client.release(lease, { outcome: 'retry', uncounted: true });
    expect(at.service.asked.map(({ body }) => body)).toEqual([
      { fencing_token: 7, outcome: 'retry', retry_after_ms: 1500, error: 'no luck' },
      { fencing_token: 7, outcome: 'retry', uncounted: true },
    ]);
  });

  it('renews and releases many leases of a holder in one call, and names them by nothing but their keys', async () => {
    await using at = await scripted((number) => ({
      status: 200,
      body: number < 3 ? { claims: [], lost: [] } : { results: [{ released: true }] },
    }));
    const key = { queue: 'a/b', claim_id: 'c', fencing_token: 7 };
    expect(await at.client.renewHeld('host:1:x y', [lease], { ttlMs: 5000 })).toEqual({ claims: [], lost: [] });
    await at.client.renewHeld('h');
    const ending = { ...lease, outcome: 'retry', retry_after_ms: 0, uncounted: true, error: 'no' } as const;
    expect(await at.client.releaseHeld('h', [ending])).toEqual([{ released: true }]);
    expect(at.service.asked.map(({ url, body }) => [url, body])).toEqual([
      ['/v1/holders/host%3A1%3Ax%20y/renew', { claims: [key], ttl_ms: 5000 }],
      ['/v1/holders/h/renew', {}],
      [
        '/v1/holders/h/release',
        { claims: [{ ...key, outcome: 'retry', retry_after_ms: 0, uncounted: true, error: 'no' }] },
      ],
    ]);
  });

  it('lists dead letters and blocked queues, page by page', async () => {
    await using at = await scripted(() => ({ status: 200, body: { dead_letters: [], queues: [], next_cursor: null } }));
    await at.client.listDeadLetters();
    await at.client.listDeadLetters({ queue: 'a/b', cursor: 'x=', limit: 3 });
    await at.client.listDeadLetters({ prefix: 'a/' });
    expect(await at.client.listBlocked({ prefix: '', limit: 2 })).toMatchObject({ next_cursor: null });
    expect(at.service.asked.map(({ method, url }) => `${method} ${url}`)).toEqual([
      'GET /v1/dead-letters',
      'GET /v1/dead-letters?queue=a%2Fb&cursor=x%3D&limit=3',
      'GET /v1/dead-letters?prefix=a%2F',
      'GET /v1/blocked?prefix=&limit=2',
    ]);
  });

  it('sends what an operator decides once only: a repeat would be answered otherwise', async () => {
    await using at = await scripted(() => problem(503, 'database_timeout'));
    const { client } = at;
    const by = { actor: 'me', reason: 'test' };
    for (const call of [
      client.redriveDeadLetters('a/b', { claim_ids: ['c'], actor: 'me' }),
      client.purgeDeadLetters('a/b', { all: true, actor: 'me' }),
      client.unblockQueue('a/b', by),
      client.retryRun('a/b', 'c/d', by),
      client.skipRun('a/b', 'c/d', by),
      client.acceptFailover({ actor: 'me', timeline: '0000000A' }),
    ]) {
      await expect(call).rejects.toMatchObject({ code: 'database_timeout' });
    }
    expect(at.service.asked.map(({ method, url, body }) => [`${method} ${url}`, body])).toEqual([
      ['POST /v1/queues/a%2Fb/dead-letters/redrive', { claim_ids: ['c'], actor: 'me' }],
      ['POST /v1/queues/a%2Fb/dead-letters/purge', { all: true, actor: 'me' }],
      ['POST /v1/queues/a%2Fb/unblock', by],
      ['POST /v1/queues/a%2Fb/claims/c%2Fd/retry', by],
      ['POST /v1/queues/a%2Fb/claims/c%2Fd/skip', by],
      ['POST /v1/failover/accept', { actor: 'me', timeline: '0000000A' }],
    ]);
  });
});
