import { describe, expect, expectTypeOf, it } from 'vitest';
import {
  type BatchOperation,
  ServiceUnreachableError,
  SignalboxClient,
  SignalboxError,
  UnknownRefusalError,
} from '../../src/client/index.ts';
import type { HeldClaim, RenewedLease, WaitingClaim } from '../../src/protocol/claims.ts';
import { aHeldClaim, type Answer, type Asked, problem, ScriptedService } from './scripted-service.ts';

async function scripted(answer: (asked: Asked, number: number) => Answer, attempts = 3) {
  const service = await ScriptedService.start(answer);
  const client = new SignalboxClient({ url: service.url, retry: { attempts, firstMs: 1, maxMs: 5 } });
  return { service, client, [Symbol.asyncDispose]: () => service[Symbol.asyncDispose]() };
}

const operationsOf = (asked: Asked | undefined) => asked?.body?.['operations'] as Record<string, unknown>[];
const refused = (status: number, code: string, extra: object = {}) => ({
  status,
  body: { status, code, detail: code, ...extra },
});
const results = (...answers: object[]): Answer => ({ status: 200, body: { results: answers } });
const gets = (count: number) =>
  Array.from({ length: count }, (_, i) => ({ op: 'get', queue: 'q', claim_id: `c${i}` }) as const);

describe('a batch of the client', () => {
  it('sends all in one call, and gives each its own result, in order', async () => {
    await using at = await scripted(() =>
      results(
        { status: 200, body: aHeldClaim({ ttl_remaining_ms: 1100, waited_ms: 40 }) },
        { status: 202, body: { state: 'waiting', position: 3 } },
        { status: 201, body: { claim_id: 'r', state: 'waiting' } },
        { status: 200, body: { claim_id: 'r', state: 'held' } },
        { status: 200, body: { released: false, reason: 'expired' } },
        refused(410, 'lease_lost', { reason: 'expired' }),
        refused(499, 'a_code_of_tomorrow'),
      ),
    );
    const before = performance.now();
    const operations = [
      { op: 'acquire', queue: 'a/b', holder: 'h', claim_id: 'mine' },
      { op: 'acquire', queue: 'q', holder: 'h', mode: 'latest_only' },
      { op: 'enqueue', queue: 'q', payload: [1] },
      { op: 'enqueue', queue: 'q', claim_id: 'r' },
      { op: 'release', queue: 'q', claim_id: 'c', fencing_token: 7, outcome: 'success' },
      { op: 'renew', queue: 'q', claim_id: 'c', fencing_token: 7, ttl_ms: 1000 },
      { op: 'break', queue: 'q', claim_id: 'c', reason: 'r', actor: 'a' },
    ] as const;
    const [held, waiting, made, known, released, lost, unknown] = await at.client.batch(operations);
    expect(at.service.asked.map(({ method, url }) => `${method} ${url}`)).toEqual(['POST /v1/batch']);
    const sent = operationsOf(at.service.asked[0]);
    expect(sent).toMatchObject(operations);
    // Made here, so that a repeat is the same claim or run.
    expect(sent[1]?.['claim_id']).toMatch(/^[0-9a-f-]{36}$/);
    expect(sent[2]?.['claim_id']).toMatch(/^[0-9a-f-]{36}$/);

    expect(held).toMatchObject({ ok: true, value: { state: 'held', fencing_token: 7 } });
    if (!held.ok) throw held.error;
    // The lease counts from the sending.
    expect(held.sentAtMs).toBeGreaterThanOrEqual(before);
    expect(held.window?.endsAtMs).toBe(held.sentAtMs + 40 + 1100);
    expect(held.window?.stopAtMs).toBeLessThan(held.window?.endsAtMs ?? 0);
    expect(waiting).toMatchObject({ ok: true, value: { state: 'waiting', position: 3 } });
    expect(waiting).not.toHaveProperty('window');
    expect(made).toMatchObject({ ok: true, value: { created: true, claim: { claim_id: 'r' } } });
    expect(known).toMatchObject({ ok: true, value: { created: false, claim: { state: 'held' } } });
    expect(released).toMatchObject({ ok: true, value: { released: false, reason: 'expired' } });
    if (lost.ok || unknown.ok) throw new Error('not refused');
    expect(lost.error).toBeInstanceOf(SignalboxError);
    expect(lost.error).toMatchObject({ code: 'lease_lost', status: 410, extra: { reason: 'expired' } });
    expect(unknown.error).toBeInstanceOf(UnknownRefusalError);
    if (waiting.ok) expectTypeOf(waiting.value).toEqualTypeOf<HeldClaim | WaitingClaim>();
    const renewed = await at.client.batch([operations[5]]).catch(() => undefined);
    if (renewed?.[0].ok === true) expectTypeOf(renewed[0].value).toEqualTypeOf<RenewedLease>();
  });

  it('sends again only what met a transient failure, and waits as long as it was asked to', async () => {
    await using at = await scripted((_asked, number) => {
      if (number === 1)
        return results(
          { status: 200, body: { n: 0 } },
          refused(503, 'overloaded', { retry_after_ms: 30 }),
          refused(404, 'claim_not_found'),
          refused(503, 'database_timeout', { retry_after_ms: 60 }),
        );
      return number === 2 ? 'hang up' : results({ status: 200, body: { n: 1 } }, { status: 200, body: { n: 3 } });
    });
    expect(await at.client.batch(gets(4))).toMatchObject([
      { ok: true, value: { n: 0 } },
      { ok: true, value: { n: 1 } },
      { ok: false, error: { code: 'claim_not_found' } },
      { ok: true, value: { n: 3 } },
    ]);
    const ids = at.service.asked.map((asked) => operationsOf(asked).map((operation) => operation['claim_id']));
    expect(ids).toEqual([
      ['c0', 'c1', 'c2', 'c3'],
      ['c1', 'c3'],
      ['c1', 'c3'],
    ]);
    const [first, second] = at.service.asked;
    expect((second?.atMs ?? 0) - (first?.atMs ?? 0)).toBeGreaterThanOrEqual(60);
  });

  it('gives up after as many attempts as any call, and says of each what became of it', async () => {
    await using at = await scripted((_asked, number) =>
      number === 1
        ? results({ status: 200, body: { n: 0 } }, refused(503, 'overloaded'))
        : results(refused(500, 'internal_error')),
    );
    expect(await at.client.batch(gets(2))).toMatchObject([
      { ok: true, value: { n: 0 } },
      { ok: false, error: { code: 'internal_error' } },
    ]);
    expect(at.service.asked.length).toBe(3);
  });

  it('keeps what it knows if a repeat is refused as a whole', async () => {
    await using at = await scripted((_asked, number) =>
      number === 1
        ? results({ status: 200, body: { n: 0 } }, refused(503, 'overloaded'))
        : problem(401, 'unauthenticated'),
    );
    expect(await at.client.batch(gets(2))).toMatchObject([{ ok: true }, { ok: false, error: { code: 'overloaded' } }]);
    expect(at.service.asked.length).toBe(2);
  });

  it('throws what concerns the whole call: after retries what passes, at once what does not', async () => {
    await using away = await scripted(() => 'hang up');
    await expect(away.client.batch(gets(2))).rejects.toBeInstanceOf(ServiceUnreachableError);
    expect(away.service.asked.length).toBe(3);
    await using closed = await scripted(() => problem(401, 'unauthenticated'));
    await expect(closed.client.batch(gets(2))).rejects.toMatchObject({ code: 'unauthenticated' });
    expect(closed.service.asked.length).toBe(1);
    await using other = await scripted(() => results({ status: 200, body: {} }));
    await expect(other.client.batch(gets(2))).rejects.toBeInstanceOf(ServiceUnreachableError);
  });

  it('ends with the reason of its signal, also between two attempts', async () => {
    const ended = new AbortController();
    const reason = new Error('enough');
    await using at = await scripted(() => {
      setImmediate(() => ended.abort(reason));
      return results(refused(503, 'overloaded', { retry_after_ms: 60_000 }));
    });
    await expect(at.client.batch(gets(1), { signal: ended.signal })).rejects.toBe(reason);
  });

  it('of nothing is nothing, and sends nothing', async () => {
    await using at = await scripted(() => 'silence');
    const none: readonly BatchOperation[] = [];
    expect(await at.client.batch(none)).toEqual([]);
    expect(at.service.asked).toEqual([]);
  });
});
