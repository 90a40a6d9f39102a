import { expect, onTestFinished, test, vi } from 'vitest';
import type { ReplicaId } from '../../src/protocol/ids.ts';
import { FeedTail } from '../../src/queues/feed-tail.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import type { Term } from '../../src/store/decisions.ts';
import { failureKind } from '../../src/store/failures.ts';
import { campaign } from '../../src/store/orchestrator-lock.ts';
import { setWebhook } from '../../src/store/webhooks.ts';
import type { CourierTiming } from '../../src/webhooks/courier.ts';
import type { WebhookEvent } from '../../src/webhooks/events.ts';
import { PostOffice } from '../../src/webhooks/post-office.ts';
import { ElectionRig } from '../support/electors.ts';
import { stressService } from '../support/stress-service.ts';
import { feedPatienceMs, until } from '../support/until.ts';
import { accept, type AnswerMessage, WebhookReceiver } from '../support/webhook-receiver.ts';

vi.setConfig({ testTimeout: 2 * feedPatienceMs });

const secret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
const quick: CourierTiming = { timeoutMs: 5000, retryMinMs: 10, retryMaxMs: 50, retryAfterMaxMs: 3_600_000 };

async function openReceiver(answer: AnswerMessage = accept): Promise<WebhookReceiver> {
  const receiver = await WebhookReceiver.open(answer);
  onTestFinished(() => receiver[Symbol.asyncDispose]());
  receiver.secret = secret;
  return receiver;
}

/** A term, and its post office with the webhook `hook`; not started. */
async function setup({
  answer = accept,
  timing = {},
}: { answer?: AnswerMessage; timing?: Partial<CourierTiming> } = {}) {
  const rig = await ElectionRig.make();
  onTestFinished(() => rig[Symbol.asyncDispose]());
  const db = rig.lanes();
  const receiver = await openReceiver(answer);
  const replicaId = 'a:1:x' as ReplicaId;
  const won = await campaign(db, replicaId, 600_000, { timeoutMs: 2000 });
  const term: Term = { replicaId, epoch: won.epoch };
  const events: WebhookEvent[] = [];
  const errors: unknown[] = [];
  const deposed: unknown[] = [];
  const feedTail = new FeedTail({ db, onError: (error) => errors.push(error), everyMs: 20 });
  await feedTail.start();
  onTestFinished(() => feedTail.stop());
  const post = new PostOffice({
    db,
    clock: systemClock,
    feedTail,
    term,
    reportDeposed: (error) => deposed.push(error),
    onError: (error) => errors.push(error),
    onEvent: (event) => events.push(event),
    timing: { ...quick, ...timing },
    everyMs: 20,
  });
  onTestFinished(() => post.stop());
  const set = async (settings: object = {}) =>
    setWebhook(
      db,
      'hook',
      {
        url: receiver.url,
        secret,
        queue_prefix: '',
        labels: null,
        types: ['claim.queued'],
        enabled: true,
        allow_http: false,
        ...settings,
      },
      { newSecret: secret, ifVersion: undefined, actor: undefined },
    );
  await set();
  const tell = (claimId: string, data: object = {}) =>
    rig.database.query(`select signalbox.record_event('claim.queued', 'q', $1, $2)`, [claimId, JSON.stringify(data)]);
  const stored = async () => (await rig.database.query('select * from signalbox.webhooks')).rows[0];
  return { rig, db, receiver, post, events, errors, deposed, set, tell, stored };
}

test('a receiver that does not answer in time has failed, and gets it again', async () => {
  const { receiver, post, events, tell } = await setup({
    answer: (message, response, nth) => (nth === 1 ? undefined : accept(message, response, nth)),
    timing: { timeoutMs: 1000 },
  });
  await tell('a');
  await post.start();
  await until(() => events.some(({ kind }) => kind === 'webhook.delivered'), {
    timeoutMs: feedPatienceMs,
    what: 'it is delivered',
  });
  expect(receiver.claimsOf('claim.queued')).toEqual(['a']);
  expect(events.filter(({ kind }) => kind !== 'webhook.lags')).toMatchObject([
    { kind: 'webhook.failed', webhook: 'hook', error: 'no answer within 1000 ms', failures: 1 },
    { kind: 'webhook.delivered', webhook: 'hook', events: 1, failures: 1 },
  ]);
});

test('Retry-After is waited for, in seconds or as a date, but for no longer than is bearable', async () => {
  const times: number[] = [];
  const { post, events, tell } = await setup({
    answer: (message, response, nth) => {
      times.push(performance.now());
      const asks = ['1', 'Thu, 01 Jan 2099 00:00:00 GMT', 'soon'][nth - 1];
      if (asks === undefined) accept(message, response, nth);
      else response.writeHead(503, { 'retry-after': asks }).end();
    },
    timing: { retryAfterMaxMs: 1200 },
  });
  await tell('a');
  await post.start();
  await until(() => events.some(({ kind }) => kind === 'webhook.delivered'), {
    timeoutMs: feedPatienceMs,
    what: 'it is delivered',
  });
  const waits = events.flatMap((event) => (event.kind === 'webhook.failed' ? [event.retryInMs] : []));
  expect(waits.slice(0, 2)).toEqual([1000, 1200]);
  expect(waits[2]).toBeLessThan(100);
  const [first = 0, second = 0, third = 0] = times;
  expect(second - first).toBeGreaterThan(990);
  expect(third - second).toBeGreaterThan(1190);
});

test('a leader that was deposed while its message was on the way moves no cursor', async () => {
  const replies: (() => void)[] = [];
  const { rig, receiver, post, deposed, tell, stored } = await setup({
    answer: (_message, response) => void replies.push(() => void response.writeHead(200).end()),
  });
  const before = await stored();
  await tell('a');
  await post.start();
  await until(() => receiver.messages.length === 1, { timeoutMs: feedPatienceMs, what: 'it is on its way' });
  await rig.database.query(`update signalbox.orchestrator_lock set leader = 'b:1:y', epoch = epoch + 1`);
  replies[0]?.();
  await until(() => deposed.length > 0, { timeoutMs: feedPatienceMs, what: 'the refusal is reported' });
  expect(deposed[0]).toMatchObject({ code: 'SB001' });
  await post.stop();
  expect(await stored()).toEqual(before);
  expect(receiver.messages).toHaveLength(1);
});

test('a database that cannot write for a while costs no second delivery', async () => {
  const { rig, receiver, post, errors, tell, stored } = await setup();
  // Before the lock: the feed waits for running transactions.
  await tell('a');
  const locker = await rig.database.connect();
  await locker.query('begin');
  await locker.query('select from signalbox.webhooks for update');
  await post.start();
  await until(() => errors.length >= 2, { timeoutMs: feedPatienceMs, what: 'two writes have failed' });
  expect(errors.map((error) => failureKind(error))).toEqual(['contended', 'contended']);
  expect(receiver.claimsOf('claim.queued')).toEqual(['a']);
  await locker.query('commit');
  await until(async () => (await stored())?.['delivered_at'] !== null, {
    timeoutMs: feedPatienceMs,
    what: 'it is written down',
  });
  expect(receiver.messages).toHaveLength(1);
});

test('a webhook that is changed while a message hangs goes on with its new settings from where it was', async () => {
  const { receiver, post, set, tell, errors } = await setup({ answer: () => undefined });
  const other = await openReceiver();
  await tell('a');
  await post.start();
  await until(() => receiver.messages.length === 1, { timeoutMs: feedPatienceMs, what: 'a message hangs' });
  await set({ url: other.url });
  await tell('b');
  await until(() => other.events.length === 2, { timeoutMs: feedPatienceMs, what: 'the other has both' });
  expect(other.claimsOf('claim.queued')).toEqual(['a', 'b']);
  expect(receiver.messages).toHaveLength(1);
  expect(errors).toEqual([]);
});

test('a message has 256 KiB at most, or one event', async () => {
  const { receiver, post, tell } = await setup();
  const sizes = [100, 100, 100, 300, 1].map((kib) => kib * 1024);
  for (const [n, size] of sizes.entries()) await tell(`c${n}`, { text: 'ü'.repeat(size / 2) });
  await post.start();
  await until(() => receiver.events.length === sizes.length, { timeoutMs: feedPatienceMs, what: 'all have come' });
  expect(receiver.messages.map(({ events }) => events.length)).toEqual([2, 1, 1, 1]);
  expect(receiver.claimsOf('claim.queued')).toEqual(['c0', 'c1', 'c2', 'c3', 'c4']);
  expect(receiver.forged).toEqual([]);
});

test('one that was away for longer than history is kept goes on, and says since when it may lack events', async () => {
  const { rig, receiver, post, tell, stored } = await setup();
  await tell('lost');
  await rig.database.query('delete from signalbox.events');
  await rig.database.query(
    `update signalbox.webhooks set cursor_at = signalbox.clock() - interval '9 days', cursor_xid = '3', cursor_id = 1`,
  );
  await tell('kept');
  await post.start();
  await until(async () => (await stored())?.['may_have_lost_at'] instanceof Date, {
    timeoutMs: feedPatienceMs,
    what: 'it says so',
  });
  expect(receiver.claimsOf('claim.queued')).toEqual(['kept']);
});

test('one that only was quiet for long does not', async () => {
  const { rig, receiver, post, tell, stored } = await setup();
  await tell('first');
  await post.start();
  await until(() => receiver.events.length === 1, { timeoutMs: feedPatienceMs, what: 'the first has come' });
  await until(async () => (await stored())?.['delivered_at'] !== null, {
    timeoutMs: feedPatienceMs,
    what: 'it is written down',
  });
  await rig.database.query(`update signalbox.webhooks set cursor_at = signalbox.clock() - interval '9 days'`);
  await tell('second');
  await until(() => receiver.events.length === 2, { timeoutMs: feedPatienceMs, what: 'the second has come' });
  await post.stop();
  expect((await stored())?.['may_have_lost_at']).toBeNull();
});

test('one that is not on has nothing sent and no lag told; a deleted one ends', async () => {
  const { rig, receiver, post, events, set, tell } = await setup();
  await set({ enabled: false });
  await tell('a');
  await post.start();
  await until(() => events.some(({ kind }) => kind === 'webhook.lags'), {
    timeoutMs: feedPatienceMs,
    what: 'it has looked',
  });
  expect(events.at(-1)).toEqual({ kind: 'webhook.lags', lags: [] });
  await set();
  await until(() => receiver.events.length === 1, { timeoutMs: feedPatienceMs, what: 'what was kept has come' });
  const looks = () => events.filter((event) => event.kind === 'webhook.lags' && event.lags.length === 0).length;
  const before = looks();
  await rig.database.query('delete from signalbox.webhooks');
  await until(() => looks() > before, { timeoutMs: feedPatienceMs, what: 'it has seen that there is none' });
  await tell('b');
  await until(() => looks() > before + 5, { timeoutMs: feedPatienceMs, what: 'it has looked again' });
  expect(receiver.claimsOf('claim.queued')).toEqual(['a']);
  await post.stop();
  expect(events.at(-1)).toEqual({ kind: 'webhook.lags', lags: [] });
});

test('the service starts and stops as any other', async () => {
  const { rig, db } = await setup();
  const feedTail = new FeedTail({ db, onError: () => undefined });
  const { rows } = await rig.database.query<{ leader: ReplicaId; epoch: string }>(
    'select * from signalbox.orchestrator_lock',
  );
  const [lock] = rows;
  if (lock === undefined) throw new Error('nobody leads');
  await stressService(
    new PostOffice({
      db,
      clock: systemClock,
      feedTail,
      term: { replicaId: lock.leader, epoch: Number(lock.epoch) as Term['epoch'] },
      reportDeposed: () => undefined,
      onError: () => undefined,
      onEvent: () => undefined,
    }),
  );
});
