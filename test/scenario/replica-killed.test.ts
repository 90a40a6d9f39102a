import { expect, test } from 'vitest';
import { freshDatabase } from '../support/database.ts';
import { anId, held, waiting } from '../support/http-client.ts';
import { startReplica } from '../support/replica.ts';
import { until } from '../support/until.ts';

test('clients of a replica killed with -9 ask the other one and keep their places', async () => {
  await using database = await freshDatabase();
  const options = { databaseUrl: database.url, directUrl: database.directUrl };
  await using a = await startReplica(options);
  await using b = await startReplica(options);
  const queue = anId('line');
  let lease = await b.client.hold(queue, { ttl_ms: 300_000 });
  const names = ['one', 'two', 'three', 'four', 'five'];
  const polls: Promise<unknown>[] = [];
  for (const [ahead, name] of names.entries()) {
    const poll = a.client.acquire(queue, { holder: name, claim_id: name, wait_ms: 60_000 });
    polls.push(poll.catch((error: unknown) => error));
    await until(
      async () =>
        (await database.query('select from signalbox.waiting where queue = $1', [queue])).rowCount === ahead + 1,
      { what: `${name} waits` },
    );
  }

  await a.kill9();
  expect((await Promise.all(polls)).every((outcome) => outcome instanceof Error)).toBe(true);

  // They come back in another order than they stood in.
  for (const name of names.toReversed()) {
    const place = waiting(await b.client.acquire(queue, { holder: name, claim_id: name }));
    expect(place).toMatchObject({ claim_id: name, position: names.indexOf(name) + 1, queue_depth: 5 });
  }
  for (const name of names) {
    const next = b.client.acquire(queue, { holder: name, claim_id: name, wait_ms: 30_000, ttl_ms: 300_000 });
    await b.client.release(lease);
    const previous = lease.fencing_token;
    lease = held(await next);
    expect(lease).toMatchObject({ claim_id: name, holder: name });
    expect(lease.fencing_token).toBeGreaterThan(previous);
  }
});
