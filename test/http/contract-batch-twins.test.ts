import fc from 'fast-check';
import { expect, it } from 'vitest';
import { anId, type BatchResult, type TestClient } from '../support/http-client.ts';
import { oneReplica } from '../support/one-replica.ts';
import { shapeOf } from '../support/test-app.ts';

let client: TestClient;
oneReplica((parts) => ({ client } = parts));

/** How a queue stands before the operation: what is there of claim `c`. */
const states = ['nothing', 'empty', 'held', 'held by another claim', 'waiting', 'run', 'ended', 'paused'] as const;
type State = (typeof states)[number];
type Fields = Readonly<Record<string, unknown>>;
interface Step {
  readonly state: State;
  readonly op: string;
  readonly fields: Fields;
  /** Which token goes along, where one does. */
  readonly token: 'its' | 'wrong' | 'none';
}

const fieldsOf: Record<string, fc.Arbitrary<Fields>> = {
  acquire: fc.record(
    {
      holder: fc.constantFrom('h', 'another', 'a\nb'),
      claim_id: fc.constantFrom('c', 'new'),
      priority: fc.constantFrom(-1, 5, 0.5),
      ttl_ms: fc.constantFrom(1000, 60_000, 300_001, 1),
      mode: fc.constantFrom('wait', 'skip_if_busy', 'latest_only', 'never'),
      labels: fc.constantFrom({}, { a: 'b' }, { a: 1 }),
      metadata: fc.constant({ deep: [1, { x: null }] }),
      also: fc.constant(['not a name']),
    },
    { requiredKeys: ['holder', 'claim_id'] },
  ),
  get: fc.constantFrom({}, {}, {}, { more: 1 }),
  renew: fc.record({ ttl_ms: fc.constantFrom(1000, 60_000, 300_001, 0) }, { requiredKeys: [] }),
  release: fc.record(
    {
      outcome: fc.constantFrom('success', 'failure', 'retry', 'cancelled', 'done'),
      retry_after_ms: fc.constantFrom(0, 60_000),
      error: fc.constantFrom('text', ''),
      uncounted: fc.constant(true),
    },
    { requiredKeys: [] },
  ),
  cancel: fc.constantFrom({}, {}, {}, { reason: 'r' }),
  break: fc.record({ reason: fc.constant('r'), actor: fc.constantFrom('a', '') }, { requiredKeys: ['reason'] }),
  enqueue: fc.record(
    {
      claim_id: fc.constantFrom('c', 'new'),
      payload: fc.jsonValue(),
      priority: fc.constantFrom(0, 7),
      labels: fc.constantFrom({}, { a: 'b' }),
      delay_ms: fc.constantFrom(0, 60_000),
      max_attempts: fc.constantFrom(1, 3, 0),
      max_age_ms: fc.constantFrom(1000, 120_000),
    },
    { requiredKeys: ['claim_id'] },
  ),
};
const step: fc.Arbitrary<Step> = fc
  .tuple(
    fc.constantFrom(...states),
    fc.constantFrom(...Object.keys(fieldsOf)),
    fc.constantFrom('its', 'its', 'wrong', 'none'),
  )
  .chain(([state, op, token]) =>
    (fieldsOf[op] ?? fc.constant({})).map((fields) => ({ state, op, fields, token: token })),
  );

/** Makes the queue stand so, and gives the token of claim `c`, if it has one. */
async function prepare(queue: string, state: State): Promise<number> {
  if (state === 'nothing') return 1;
  await client.put(queue, { paused: state === 'paused' });
  if (state === 'held' || state === 'ended') {
    const lease = await client.hold(queue, { claim_id: 'c', holder: 'h', ttl_ms: 60_000 });
    if (state === 'ended') await client.release(lease);
    return lease.fencing_token;
  }
  if (state === 'held by another claim' || state === 'waiting') await client.hold(queue, { claim_id: 'first' });
  if (state === 'waiting') await client.acquire(queue, { claim_id: 'c', holder: 'h' });
  if (state === 'run') await client.enqueue(queue, { claim_id: 'c' });
  return 1;
}

/** The operation's fields with its token, as a body of its own call has them. */
function bodyOf({ op, fields, token }: Step, itsToken: number): Fields {
  const takesToken = op === 'renew' || op === 'release';
  if (!takesToken || token === 'none') return fields;
  return { ...fields, fencing_token: token === 'its' ? itsToken : itsToken + 1 };
}

const aboutClaim = (op: string) => op !== 'acquire' && op !== 'enqueue';

async function alone(queue: string, op: string, body: Fields): Promise<BatchResult> {
  const path = `/v1/queues/${queue}`;
  const answer =
    op === 'get'
      ? await client.ask<BatchResult['body']>(
          'GET',
          `${path}/claims/c?${new URLSearchParams(body as never).toString()}`,
        )
      : await client.ask<BatchResult['body']>(
          'POST',
          aboutClaim(op) ? `${path}/claims/c/${op}` : `${path}/${op}`,
          body,
        );
  return { status: answer.status, body: answer.body };
}

/** What must be the same of two answers: all but the queue's name, times, ids and numbers that only one of them can have. */
function told(queue: string, { status, body }: BatchResult): unknown {
  // Where a fault of a query is one of the body here.
  const text = JSON.stringify(body).replaceAll(queue, 'THE QUEUE').replaceAll('query', 'body');
  const { errors, ...same } = JSON.parse(text) as Fields;
  const kept = Object.entries(same).filter(([name]) => !/(_at|_ms|fencing_token)$/.test(name) || name === 'max_ttl_ms');
  const ofHolders = (value: unknown) => (Array.isArray(value) ? value.length : value);
  // Its sentence names a holder, and guesses.
  const ofWords = (name: string, value: unknown) =>
    name === 'why' ? String(value).split(/, by |; about /)[0] : ofHolders(value);
  return {
    status,
    shape: shapeOf(body),
    errors,
    body: Object.fromEntries(kept.map(([name, value]) => [name, ofWords(name, value)])),
  };
}

it('a batch about as many queues does the same as its operations one by one', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 25 }), async (steps) => {
      const [batched, single] = [anId('b'), anId('s')].map((name) => steps.map((_, i) => `${name}.${i}`));
      if (batched === undefined || single === undefined) throw new Error('no names');
      const tokensOf = (queues: readonly string[]) =>
        Promise.all(steps.map(({ state }, i) => prepare(queues[i] ?? '', state)));
      const [batchedTokens, singleTokens] = [await tokensOf(batched), await tokensOf(single)];
      const operations = steps.map((asked, i) => ({
        op: asked.op,
        queue: batched[i],
        ...(aboutClaim(asked.op) ? { claim_id: 'c' } : {}),
        ...bodyOf(asked, batchedTokens[i] ?? 1),
      }));
      const { status, body } = await client.batch(operations);
      expect(status).toBe(200);
      const alones = await Promise.all(
        steps.map((asked, i) => alone(single[i] ?? '', asked.op, bodyOf(asked, singleTokens[i] ?? 1))),
      );
      for (const [i, asked] of steps.entries()) {
        const [one, other] = [body.results?.[i], alones[i]];
        if (one === undefined || other === undefined) throw new Error('an answer is missing');
        expect([asked, told(batched[i] ?? '', one)]).toEqual([asked, told(single[i] ?? '', other)]);
        // And it left the same behind.
        const [left, right] = await Promise.all([client.queue(batched[i] ?? ''), client.queue(single[i] ?? '')]);
        const countsOf = (detail: Fields) => [detail['held'], detail['waiting'], detail['code']];
        expect([asked, countsOf({ ...left.body })]).toEqual([asked, countsOf({ ...right.body })]);
      }
    }),
    { numRuns: 25, interruptAfterTimeLimit: 60_000 },
  );
}, 120_000);
