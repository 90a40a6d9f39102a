import { describe, expect, it } from 'vitest';
import { httpCall } from '../../src/action/http-call.ts';
import { LeaseService } from '../../src/action/lease-service.ts';
import { pause, toldMsMax } from '../../src/action/time-limit.ts';
import { AnswerDropper } from '../support/actions-runner/answer-dropper.ts';

const { signal } = new AbortController();

describe('a time that a server tells', () => {
  const date = 'Wed, 01 Jul 2026 10:00:00 GMT';
  it.each([
    { told: '0', ms: 0 },
    { told: '7', ms: 7000 },
    { told: ' 7 ', ms: 7000 },
    { told: '9999999', ms: toldMsMax },
    { told: '9'.repeat(400), ms: toldMsMax },
    { told: '-5', ms: undefined },
    { told: '1.5', ms: undefined },
    { told: '1e3', ms: undefined },
    { told: 'NaN', ms: undefined },
    { told: 'soon', ms: undefined },
    { told: 'Wed, 01 Jul 2026 10:00:30 GMT', ms: 30_000 },
    { told: 'Wednesday, 01-Jul-26 10:00:30 GMT', ms: 30_000 },
    { told: 'Wed, 01 Jul 2026 09:00:00 GMT', ms: 0 },
    { told: 'Thu, 01 Jul 2027 10:00:00 GMT', ms: toldMsMax },
    { told: 'Wed, 99 Nul 2026 10:00:00 GMT', ms: undefined },
    { told: 'Wed, 01 Jul 2026 10:00:30 GMT', date: 'never', ms: undefined },
  ])('is kept within reason: Retry-After $told', async ({ told, ms, ...given }) => {
    await using server = await AnswerDropper.before('http://unused');
    server.instead = () => ({ status: 503, headers: { 'retry-after': told, date, ...given } });
    const call = { method: 'POST', url: server.url, headers: {}, body: {}, timeoutMs: 5000, signal } as const;
    expect(await httpCall(call)).toMatchObject({ kind: 'answered', retryAfterMs: ms });
  });

  it.each([
    { told: 9e15, ms: toldMsMax },
    { told: 250, ms: 250 },
    { told: -1, ms: undefined },
    { told: '250', ms: undefined },
  ])('is kept within reason: poll_after_ms $told', async ({ told, ms }) => {
    await using server = await AnswerDropper.before('http://unused');
    server.instead = () => ({ status: 200, body: { request: { status: 'pending' }, poll_after_ms: told } });
    const group = { owner: 'acme', repo: 'shop', baseRef: 'main', headRef: 'x', headSha: 'y' };
    const service = new LeaseService({ serviceUrl: server.url, authorization: undefined }, group);
    const call = { priority: 1, requestId: 'r', holdTtlMs: 1000, waitMs: 0 };
    expect(await service.acquire(call, signal)).toMatchObject({ kind: 'pending', pollAfterMs: ms });
  });
});

describe('a pause', () => {
  it.each([3_000_000_000, Number.MAX_VALUE, Infinity, NaN])('of %d ms is not over at once', async (ms) => {
    const ending = new AbortController();
    let isOver = false;
    const paused = pause(ms, ending.signal).then(
      () => (isOver = true),
      () => undefined,
    );
    // Of a timer that overflowed it is 1 ms, and that one goes off before this one.
    await pause(50, signal);
    expect(isOver).toBe(false);
    ending.abort();
    await paused;
  });

  it('of less than nothing is over at once', async () => {
    await pause(-1e300, signal);
  });
});
