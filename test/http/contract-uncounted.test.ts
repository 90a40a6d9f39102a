import { describe, expect, it } from 'vitest';
import { anId, type LeaseKey, leaseKey, type TestClient } from '../support/http-client.ts';
import { oneReplica } from '../support/one-replica.ts';

let client: TestClient;
oneReplica((parts) => ({ client } = parts));

const invalid = { status: 400, body: { code: 'invalid_request' } };

/** A release by one or the other call. */
type Release = (lease: LeaseKey, ending: object) => Promise<{ readonly status: number; readonly body: object }>;
const single: Release = (lease, ending) =>
  client.ask('POST', `/v1/queues/${lease.queue}/claims/${lease.claim_id}/release`, {
    fencing_token: lease.fencing_token,
    ...ending,
  });
const ofHolder: Release = async (lease, ending) => {
  const { status, body } = await client.ask<{ results?: object[] }>('POST', '/v1/holders/worker/release', {
    claims: [{ ...leaseKey(lease), ...ending }],
  });
  return { status, body: body.results?.[0] ?? body };
};

/** The only run of a queue, taken at its only attempt. */
async function takenAtLastAttempt() {
  const queue = anId('q');
  await client.enqueue(queue, { claim_id: 'a', max_attempts: 1 });
  return client.takeOne({ queue, holder: 'worker' });
}

describe.each([
  ['the release of a claim', single],
  ["the holder's release", ofHolder],
])('uncounted in %s', (_, release) => {
  it('with a retry does not count the attempt: a run at its last one lives on', async () => {
    const lease = await takenAtLastAttempt();
    const { queue } = lease;
    expect(await release(lease, { outcome: 'retry', retry_after_ms: 0, uncounted: true })).toMatchObject({
      status: 200,
      body: { released: true, state: 'waiting' },
    });
    const again = await client.takeOne({ queue, holder: 'worker' });
    expect(again).toMatchObject({ claim_id: 'a', attempt: 1 });
    expect(await release(again, { outcome: 'retry', retry_after_ms: 60_000, uncounted: true })).toMatchObject({
      body: { released: true, state: 'delayed' },
    });
    expect((await client.queue(queue)).body).toMatchObject({ delayed: 1, dead_letters: 0 });
  });

  it('absent, the attempt counts, and was the last one', async () => {
    const lease = await takenAtLastAttempt();
    expect(await release(lease, { outcome: 'retry', retry_after_ms: 0 })).toMatchObject({
      status: 200,
      body: { released: true, state: 'dead' },
    });
  });

  it.each([{}, { outcome: 'success' }, { outcome: 'failure' }, { outcome: 'cancelled' }])(
    'is refused with %j, and the lease stays',
    async (ending) => {
      const lease = await takenAtLastAttempt();
      expect(await release(lease, { ...ending, uncounted: true })).toMatchObject(invalid);
      expect((await client.renew(lease)).status).toBe(200);
    },
  );
});

describe("the holder's release", () => {
  it.each([
    ['success', { concurrency_limit: 1 }],
    ['success', { concurrency_limit: null }],
    ['failure', { concurrency_limit: 1 }],
    ['retry', { concurrency_limit: 1 }],
    ['retry', { concurrency_limit: null }],
  ] as const)(
    'with outcome %s and %j of a lease that another holder has is token_mismatch, and leaves it',
    async (outcome, settings) => {
      const queue = anId('q');
      await client.put(queue, settings);
      await client.enqueue(queue, { claim_id: 'a' });
      const lease = await client.takeOne({ queue, holder: 'worker' });
      const before = await client.get(queue, 'a');
      const reply = await client.releaseHeld('another', [{ ...lease, outcome }]);
      expect(reply).toMatchObject({
        status: 200,
        body: { results: [{ queue, claim_id: 'a', released: false, code: 'token_mismatch' }] },
      });
      const after = await client.get(queue, 'a');
      for (const { body } of [before, after])
        expect(body).toMatchObject({ state: 'held', expires_at: lease.expires_at });
      expect((await client.renew(lease)).status).toBe(200);
      expect((await client.releaseHeld('worker', [{ ...lease, outcome }])).body.results).toMatchObject([
        { released: true },
      ]);
    },
  );
});
