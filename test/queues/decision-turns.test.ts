import { setImmediate as turnOfTheLoop } from 'node:timers/promises';
import { expect, it } from 'vitest';
import type { Announcer } from '../../src/notifier/announcer.ts';
import { TakerRoom } from '../../src/notifier/taker-room.ts';
import { WaitingRoom } from '../../src/notifier/waiting-room.ts';
import { DecisionDesk } from '../../src/queues/decision-desk.ts';
import { News } from '../../src/queues/news.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import type { Database } from '../../src/store/database.ts';
import type { Operation } from '../../src/store/decisions.ts';

interface Call {
  readonly lane: string;
  /** "op queue", in order. */
  readonly about: readonly string[];
  readonly answer: () => void;
}

/** A desk whose database answers when the test says so. */
function deskOfSlowDatabase() {
  const calls: Call[] = [];
  const db = {
    query: (lane: string, { parameters }: { readonly parameters: readonly unknown[] }) =>
      new Promise((resolve) => {
        const operations = JSON.parse(String(parameters[0])) as Operation[];
        const rows = operations.map(({ queue, claim_id }, item) => ({
          item,
          code: 'waiting',
          queue,
          claim_id,
          body: {},
        }));
        calls.push({ lane, about: operations.map(({ op, queue }) => `${op} ${queue}`), answer: () => resolve(rows) });
      }),
  } as unknown as Database;
  const announcer = { announceMoved: () => undefined, announceReady: () => undefined } as unknown as Announcer;
  const news = new News({
    room: new WaitingRoom(),
    takers: new TakerRoom(),
    cleaners: new TakerRoom(),
    announcer,
    onDelayed: () => undefined,
    onStir: () => undefined,
    onDecisions: () => undefined,
  });
  const desk = new DecisionDesk({
    db,
    clock: systemClock,
    news,
    autoCreateQueues: false,
    batchMax: 2,
    inFlightMax: 3,
    pendingMax: 100,
    lineWaitMs: 100,
    onBatch: () => undefined,
  });
  let claims = 0;
  const decide = (op: string, queue: string) =>
    desk.decide({ op, queue, claim_id: `c${++claims}`, holder: 'h', fencing_token: 1 } as unknown as Operation);
  return { calls, desk, decide };
}

it('operations of a queue that is in a call under way wait for it, and go together; others do not wait', async () => {
  const { calls, desk, decide } = deskOfSlowDatabase();
  const answers = [decide('acquire', 'hot')];
  await turnOfTheLoop();
  answers.push(decide('release', 'hot'), decide('acquire', 'hot'), decide('acquire', 'other'));
  expect(desk.pending).toBe(3);
  await turnOfTheLoop();
  await turnOfTheLoop();
  expect(calls.map(({ about }) => about)).toEqual([['acquire hot'], ['acquire other']]);
  calls[0]?.answer();
  await turnOfTheLoop();
  await turnOfTheLoop();
  expect(calls.map(({ about }) => about).slice(2)).toEqual([['release hot', 'acquire hot']]);
  for (const { answer } of calls) answer();
  await Promise.all(answers);
  // None met its own replica's lock, which the contended lane is for.
  expect(new Set(calls.map(({ lane }) => lane))).toEqual(new Set(['decide']));
  expect(desk.pending).toBe(0);
});

it('a queue that fills more than one batch has one of them under way', async () => {
  const { calls, decide } = deskOfSlowDatabase();
  const answers = [
    decide('acquire', 'hot'),
    decide('acquire', 'hot'),
    decide('release', 'hot'),
    decide('acquire', 'other'),
  ];
  const soon = async () => {
    for (let turn = 0; turn < 4; turn++) await turnOfTheLoop();
  };
  await soon();
  expect(calls.map(({ about }) => about)).toEqual([['acquire hot', 'acquire hot'], ['acquire other']]);
  for (const { answer } of calls) answer();
  await soon();
  expect(calls[2]?.about).toEqual(['release hot']);
  for (const { answer } of calls) answer();
  await Promise.all(answers);
});

it('a batch that is partly for a queue under way sends the rest, and counts as in flight until that is answered', async () => {
  const { calls, decide } = deskOfSlowDatabase();
  const answers = ['acquire', 'acquire', 'release'].map((op) => decide(op, 'hot'));
  answers.push(decide('acquire', 'other'));
  await turnOfTheLoop();
  await turnOfTheLoop();
  // Two calls of three: of the second batch only what no other call is about.
  expect(calls.map(({ about }) => about)).toEqual([['acquire hot', 'acquire hot'], ['acquire other']]);
  answers.push(decide('acquire', 'third'), decide('acquire', 'fourth'));
  await turnOfTheLoop();
  await turnOfTheLoop();
  answers.push(decide('acquire', 'fifth'), decide('acquire', 'sixth'));
  await turnOfTheLoop();
  await turnOfTheLoop();
  expect(calls.map(({ about }) => about).slice(2)).toEqual([['acquire third', 'acquire fourth']]);
  for (let answered = 0; answered < 5; answered++) {
    while (calls[answered] === undefined) await turnOfTheLoop();
    calls[answered]?.answer();
  }
  await Promise.all(answers);
});

it('an enqueue waits for its queue too: sent beside the call, it would meet the lock of its own replica', async () => {
  const { calls, decide } = deskOfSlowDatabase();
  const answers = [decide('acquire', 'hot')];
  await turnOfTheLoop();
  answers.push(decide('enqueue', 'hot'));
  await turnOfTheLoop();
  await turnOfTheLoop();
  expect(calls.length).toBe(1);
  calls[0]?.answer();
  await turnOfTheLoop();
  await turnOfTheLoop();
  expect(calls.map(({ lane, about }) => [lane, ...about]).slice(1)).toEqual([['decide', 'enqueue hot']]);
  for (const { answer } of calls) answer();
  await Promise.all(answers);
});

it('what waits for a call that hangs is told in time; nothing was done', async () => {
  const { calls, decide } = deskOfSlowDatabase();
  const hangs = decide('acquire', 'hot');
  await turnOfTheLoop();
  await expect(decide('acquire', 'hot')).rejects.toMatchObject({ code: 'overloaded' });
  expect(calls.length).toBe(1);
  calls[0]?.answer();
  await hangs;
});
