import { expect, it } from 'vitest';
import { freshDatabase } from '../../support/database.ts';
import { type Answer, acquireItem, onQueue, rowsOf } from '../../support/sql-verbs.ts';

// Replicas of the release before run beside ours while a deployment is under way. These are their statements, and what
// they read of the answers: the whole lease.
const earlierDecide = 'select * from signalbox_v1.decide($1, false)';
const earlierRenew = 'select * from signalbox_v1.renew($1)';

const aNumber: unknown = expect.any(Number);
const aTime: unknown = expect.any(String);
const wholeLease = {
  claim_id: 'c',
  queue: 'q',
  kind: 'claim',
  attempt: 1,
  state: 'held',
  holder: 'holder of c',
  slot: 1,
  ttl_ms: 30_000,
  ttl_remaining_ms: aNumber,
  renew_after_ms: aNumber,
  priority: 0,
  mode: 'wait',
  labels: {},
  metadata: {},
  offered: false,
  release_requested: false,
  enqueued_at: aTime,
  acquired_at: aTime,
  renewed_at: aTime,
  expires_at: aTime,
};

for (const limit of [1, null])
  it(`a replica of an earlier program gets whole leases from a grant and a renewal (limit ${limit})`, async () => {
    await using database = await freshDatabase();
    const queue = onQueue(database, 'q');
    await queue.configure({ concurrency_limit: limit });
    // The first grant of a queue makes its slot and is decided by itself; the second is set-wise.
    for (const round of [1, 2]) {
      const [granted] = await rowsOf<Answer>(database, earlierDecide, [JSON.stringify([acquireItem('q', 'c')])]);
      expect(granted).toMatchObject({ item: 0, code: 'held' });
      const token = granted?.body.fencing_token ?? 0;
      expect(granted?.body).toEqual({ ...wholeLease, fencing_token: token });
      const renewal = JSON.stringify([{ queue: 'q', claim_id: 'c', fencing_token: token }]);
      const [renewed] = await rowsOf<Answer>(database, earlierRenew, [renewal]);
      expect(renewed).toMatchObject({ item: 0, code: 'renewed' });
      expect(renewed?.body).toEqual({ ...wholeLease, fencing_token: token });
      expect(await queue.release('c', token)).toMatchObject({ code: 'released' });
      // The same id again is another claim only when the queue has forgotten the first.
      await database.query(`delete from signalbox.history; update signalbox.leases set claim_id = 'round ${round}'`);
      await database.query(`delete from signalbox.wide_slots`);
    }
  });
