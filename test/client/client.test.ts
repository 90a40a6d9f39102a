import { describe, expect, it } from 'vitest';
import {
  ServiceUnreachableError,
  SignalboxClient,
  SignalboxError,
  UnknownRefusalError,
} from '../../src/client/index.ts';
import { aHeldClaim, problem, ScriptedService } from './scripted-service.ts';

const quickRetry = { attempts: 4, firstMs: 1, maxMs: 5 };

describe('the client', () => {
  it('repeats an acquire after a broken connection and a 503 as the same claim, with an id of its own', async () => {
    await using service = await ScriptedService.start((_asked, number) => {
      if (number === 1) return 'hang up';
      if (number === 2) return problem(503, 'database_unavailable');
      return { status: 200, body: aHeldClaim() };
    });
    const client = new SignalboxClient({ url: service.url, retry: quickRetry });
    const sent: number[] = [];
    const claim = await client.acquire('a/b', { holder: 'h' }, { onSend: (atMs) => sent.push(atMs) });
    expect(claim).toMatchObject({ state: 'held', fencing_token: 7 });
    expect(service.asked.map(({ url }) => url)).toEqual(Array(3).fill('/v1/queues/a%2Fb/acquire'));
    const ids = new Set(service.asked.map(({ body }) => body?.['claim_id']));
    expect(ids.size).toBe(1);
    expect([...ids][0]).toMatch(/^[0-9a-f-]{36}$/);
    // The lease counts from the attempt that was answered, and no attempt is noted later than it arrives.
    expect(sent).toHaveLength(3);
    for (const [number, atMs] of sent.entries()) expect(atMs).toBeLessThanOrEqual(service.asked[number]?.atMs ?? 0);
  });

  it('throws a problem document as SignalboxError with code, status, extra members and retryAfterMs', async () => {
    await using service = await ScriptedService.start(() =>
      problem(410, 'claim_ended', { state: 'expired', reason: 'silent', retry_after_ms: 1234 }),
    );
    const refused = new SignalboxClient({ url: service.url }).acquire('q', { holder: 'h' });
    const error = await refused.catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(SignalboxError);
    expect(error).toMatchObject({
      code: 'claim_ended',
      status: 410,
      extra: { state: 'expired', reason: 'silent' },
      retryAfterMs: 1234,
    });
    expect(service.asked).toHaveLength(1);
  });

  it('waits as long as Retry-After asks before it repeats', async () => {
    await using service = await ScriptedService.start((_asked, number) =>
      number === 1 ? problem(503, 'overloaded', { retry_after_ms: 300 }) : { status: 200, body: { released: true } },
    );
    const client = new SignalboxClient({ url: service.url, retry: quickRetry });
    await client.release({ queue: 'q', claim_id: 'c', fencing_token: 7 } as never, { outcome: 'success' });
    const [first, second] = service.asked;
    expect((second?.atMs ?? 0) - (first?.atMs ?? 0)).toBeGreaterThanOrEqual(295);
    expect(second?.body).toEqual({ fencing_token: 7, outcome: 'success' });
  });

  it('gives up after its attempts with ServiceUnreachableError: no answer in time, nobody there, not Signalbox', async () => {
    await using silent = await ScriptedService.start(() => 'silence');
    await using page = await ScriptedService.start(() => ({ status: 502, body: '<html>Bad gateway</html>' }));
    for (const [url, timeoutMs, message] of [
      // Long enough for a busy machine to bring each attempt to the service, where they are counted.
      [silent.url, 500, 'did not answer within 500 ms'],
      ['http://127.0.0.1:9', 5000, 'cannot be reached'],
      [page.url, 5000, 'not Signalbox'],
    ] as const) {
      const client = new SignalboxClient({ url, timeoutMs, retry: { ...quickRetry, attempts: 2 } });
      const error = await client.getQueue('q').catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(ServiceUnreachableError);
      expect((error as Error).message).toContain(message);
    }
    expect([silent.asked.length, page.asked.length]).toEqual([2, 2]);
  });

  it.each([
    [408, 'request_timeout', true],
    [500, 'internal_error', true],
    [503, 'database_unavailable', true],
    [503, 'database_timeout', true],
    [503, 'overloaded', true],
    [504, 'of_a_balancer', true],
    [400, 'invalid_request', false],
    [401, 'unauthenticated', false],
    [403, 'forbidden', false],
    [404, 'claim_not_found', false],
    [409, 'token_mismatch', false],
    [418, 'teapot', false],
    // What is full stays full for long: whether to ask again is the caller's to say.
    [429, 'queue_full', false],
  ])('P87: an acquire answered %i %s is sent again: %s', async (status, code, isRepeated) => {
    await using service = await ScriptedService.start((_asked, number) =>
      number === 1 ? problem(status, code) : { status: 200, body: aHeldClaim() },
    );
    const client = new SignalboxClient({ url: service.url, retry: quickRetry });
    const answer = await client.acquire('q', { holder: 'h' }).catch((error: unknown) => error);
    expect(answer instanceof Error).toBe(!isRepeated);
    expect(service.asked).toHaveLength(isRepeated ? 2 : 1);
  });

  it('does not repeat what a second execution would answer otherwise', async () => {
    await using service = await ScriptedService.start(() => problem(503, 'database_timeout'));
    const client = new SignalboxClient({ url: service.url, retry: quickRetry });
    await expect(client.configureQueue('q', {}, { ifVersion: 3 })).rejects.toMatchObject({ code: 'database_timeout' });
    await expect(client.deleteQueue('q')).rejects.toMatchObject({ code: 'database_timeout' });
    expect(service.asked.map(({ method }) => method)).toEqual(['PUT', 'DELETE']);
    expect(service.asked[0]?.headers['if-match']).toBe('"3"');
  });

  it('ends at once with the reason of its signal, in a call and between two', async () => {
    await using silent = await ScriptedService.start(() => 'silence');
    await using failing = await ScriptedService.start(() => problem(503, 'overloaded', { retry_after_ms: 60_000 }));
    for (const service of [silent, failing]) {
      const client = new SignalboxClient({ url: service.url });
      const reason = new Error('enough');
      const abort = new AbortController();
      const call = client.getQueue('q', { signal: abort.signal });
      setTimeout(() => abort.abort(reason), 50);
      await expect(call).rejects.toBe(reason);
    }
  });

  it('keeps a code it does not know, and sends its bearer token', async () => {
    await using service = await ScriptedService.start(() => problem(418, 'teapot'));
    const client = new SignalboxClient({ url: `${service.url}/below/`, token: 'secret' });
    const error = await client.checkToken('q', 5, 2).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(UnknownRefusalError);
    expect(error).toMatchObject({ code: 'teapot', status: 418 });
    expect(service.asked[0]).toMatchObject({
      url: '/below/v1/queues/q/check?fencing_token=5&slot=2',
      headers: { authorization: 'Bearer secret' },
    });
  });
});
