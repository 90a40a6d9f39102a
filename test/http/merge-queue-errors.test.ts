import { describe, expect, it } from 'vitest';
import { type ErrorCode, SignalboxError } from '../../src/protocol/errors.ts';
import type { MergeAnswer, MergeQueues, MergeRefusal } from '../../src/protocol/merge-queue.ts';
import { aBuild } from '../support/merge-queue-client.ts';
import { noMergeQueues, recordingServer } from './recording-server.ts';

type Refused = Extract<MergeAnswer, { kind: 'refused' }>;

const url = '/merge-queue/acme/shop/main';
const headers = { 'content-type': 'json' };

function serverWith(mergeQueues: Partial<MergeQueues>) {
  return recordingServer({ mergeQueues: { ...noMergeQueues, ...mergeQueues } });
}

describe('what the original does not have is told in its shape, with our code beside', () => {
  it.each<[code: ErrorCode, status: number, retryAfterMs: number | undefined, retryAfter: string]>([
    ['database_unavailable', 503, undefined, '1'],
    ['database_timeout', 503, 2500, '3'],
    ['overloaded', 503, 1000, '1'],
    ['shutting_down', 503, undefined, '1'],
  ])('%s is %i with Retry-After', async (code, status, retryAfterMs, retryAfter) => {
    const failing = () =>
      Promise.reject(
        new SignalboxError(code, { detail: 'why', ...(retryAfterMs === undefined ? {} : { retryAfterMs }) }),
      );
    await using server = serverWith({ acquire: failing, release: failing, show: failing, list: failing });
    const calls = [
      server.app.inject({ url: '/merge-queue' }),
      server.app.inject({ url }),
      server.app.inject({ method: 'POST', url: `${url}/acquire`, headers, payload: JSON.stringify(aBuild(1)) }),
      // A body that does not fit asks too whether there is such a merge queue.
      server.app.inject({ method: 'POST', url: `${url}/release`, headers, payload: '{' }),
    ];
    for (const answer of await Promise.all(calls)) {
      expect(answer.statusCode).toBe(status);
      expect(answer.headers).toMatchObject({ 'retry-after': retryAfter, 'content-type': 'application/json' });
      expect(answer.json()).toEqual({ error: expect.any(String) as string, error_context: 'why', code });
    }
  });

  it('a defect of ours is 500, and its cause is in the log alone', async () => {
    await using server = serverWith({ show: () => Promise.reject(new Error('the private cause')) });
    const answer = await server.app.inject({ url });
    expect([answer.statusCode, answer.json<{ code: string }>().code]).toEqual([500, 'internal_error']);
    expect(answer.body).not.toContain('private');
    expect(JSON.stringify(server.lines)).toContain('the private cause');
  });

  it('a URL that is too long is 414', async () => {
    await using server = serverWith({});
    const answer = await server.app.inject({ url: `${url}?a=${'b'.repeat(9000)}` });
    expect([answer.statusCode, answer.json<{ code: string }>().code]).toEqual([414, 'uri_too_long']);
  });

  it('a token in the URL is refused and not echoed', async () => {
    await using server = serverWith({});
    const token = `sbx_000000000000_${'A'.repeat(43)}`;
    const refused = await server.app.inject({ url: `${url}?token=${token}` });
    expect([refused.statusCode, refused.json<{ code: string }>().code]).toEqual([400, 'invalid_request']);
    const unknown = await server.app.inject({ url: `/merge-queue/${token}` });
    expect([unknown.statusCode, unknown.body]).toEqual([404, 'Cannot GET /merge-queue/sbx_000000000000_[redacted]']);
  });
});

describe('the table of refusals', () => {
  const statuses: Record<MergeRefusal, readonly [acquire: number, release: number, renew: number]> = {
    lease_taken: [409, 400, 409],
    status_mismatch: [409, 400, 409],
    nothing_held: [409, 400, 409],
    not_the_holder: [409, 400, 409],
    not_registered: [409, 400, 409],
    token_mismatch: [409, 400, 409],
    token_required: [409, 400, 409],
    lease_lost: [409, 400, 410],
    ended_otherwise: [409, 400, 410],
    queue_full: [429, 400, 409],
  };

  it.each(Object.keys(statuses) as MergeRefusal[])('%s has the status of its verb and a text', async (refusal) => {
    const answer: Refused = { kind: 'refused', refusal, hasStatus: null, reason: 'expired', retryAfterMs: 4000 };
    const refuse = () => Promise.resolve(answer);
    await using server = serverWith({ acquire: refuse, release: refuse, renew: refuse });
    const payload = JSON.stringify({ ...aBuild(1), status: 'success', fencing_token: 1 });
    for (const [index, verb] of (['acquire', 'release', 'renew'] as const).entries()) {
      const got = await server.app.inject({ method: 'POST', url: `${url}/${verb}`, headers, payload });
      expect(got.statusCode, verb).toBe(statuses[refusal][index]);
      expect(got.headers['retry-after']).toBe('4');
      const { error, error_context: context } = got.json<{ error: string; error_context: string }>();
      expect(error).toMatch(/^Couldn't (acquire the lock|release the lock|renew the lease)$/);
      expect(context).not.toBe('');
    }
    expect(server.lines.map((line) => line['code'])).toEqual([refusal, refusal, refusal]);
  });

  it('a text that looks like a token is not echoed', async () => {
    const answer: Refused = {
      kind: 'refused',
      refusal: 'not_the_holder',
      hasStatus: null,
      reason: null,
      retryAfterMs: null,
    };
    await using server = serverWith({ release: () => Promise.resolve(answer) });
    const payload = { ...aBuild(1, { head_sha: `sbx_000000000000_${'A'.repeat(43)}` }), status: 'success' };
    const got = await server.app.inject({
      method: 'POST',
      url: `${url}/release`,
      headers,
      payload: JSON.stringify(payload),
    });
    expect(got.json<{ error_context: string }>().error_context).toBe(
      'commit sbx_000000000000_[redacted] does not hold the lease',
    );
  });
});
