import { expect, test } from 'vitest';
import { freshDatabase } from '../../support/database.ts';
import { expectSoundQueues } from '../../support/sound-queues.ts';
import { makeQueues, oneOf, onQueue } from '../../support/sql-verbs.ts';

test('the inbox moves by bytes: of 40 payloads of 256 KiB one take moves 4 MiB, and all come in the end, in order', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { concurrency_limit: null });
  const queue = onQueue(db, 'q');
  const ids = Array.from({ length: 40 }, (_, index) => `run.${index}`);
  await db.query(
    `select signalbox_v1.enqueue('q', id, to_json(repeat('x', 262142))) from unnest($1::text[]) with ordinality u(id, n)
     order by n`,
    [ids],
  );
  const taken = [...(await queue.take(1)).ids];
  expect(taken).toEqual(['run.0']);
  expect(await queue.line('run')).toEqual(ids.slice(1, 16));
  expect(await oneOf(db, 'select count(*)::int as left from signalbox.inbox')).toEqual({ left: 24 });
  for (let calls = 0; taken.length < 40 && calls < 10; calls++) taken.push(...(await queue.take(40)).ids);
  expect(taken).toEqual(ids);
  await expectSoundQueues(db);
});

test('a take that is given all that one move brought says that there is more', async () => {
  await using db = await freshDatabase();
  await makeQueues(db, ['q'], { concurrency_limit: null });
  await db.query(
    `select signalbox_v1.enqueue('q', 'run.' || n, to_json(repeat('x', 262142))) from generate_series(1, 17) n`,
  );
  const queue = onQueue(db, 'q');
  const first = await queue.take(17);
  expect([first.ids.length, first.more]).toEqual([16, true]);
  const second = await queue.take(17);
  expect([second.ids, second.more]).toEqual([['run.17'], false]);
});
