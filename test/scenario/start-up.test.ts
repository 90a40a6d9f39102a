import { describe, expect, test } from 'vitest';
import { TemporaryDataDir } from '../support/data-dir.ts';
import { emptyDatabase } from '../support/database.ts';
import { launchReplica, listening, type Replica, startReplica } from '../support/replica.ts';
import { StallMeter } from '../support/stalls.ts';

describe('serve', () => {
  test('on an empty directory is ready within 10 s, and a second one joins it', { timeout: 90_000 }, async () => {
    await using dataDir = await TemporaryDataDir.make();
    // As at a user's: nothing was compiled before.
    const env = { SIGNALBOX_DATA_DIR: dataDir.path, NODE_COMPILE_CACHE: undefined };
    await using stalls = new StallMeter(() => Promise.resolve());
    const startedAt = performance.now();
    await using first = await startReplica({ env, timeoutMs: 60_000 });
    expect((await first.client.ready()).status).toBe(200);
    const tookMs = performance.now() - startedAt;
    process.stdout.write(`ready on an empty directory after ${Math.round(tookMs)} ms\n`);
    expect(tookMs).toBeLessThanOrEqual(10_000 + 5 * stalls.worstMs);
    await first.process.line(/^Embedded PostgreSQL started; psql "postgresql:/);

    await using second = await startReplica({ env, timeoutMs: 60_000 });
    await second.process.line(/^Embedded PostgreSQL joined; psql "postgresql:/);
    const lease = await first.client.hold('shared');
    expect((await second.client.get('shared', lease.claim_id)).body).toMatchObject({ state: 'held' });

    // The one that started the server goes; the other keeps it.
    expect(await first.terminate()).toBe(0);
    expect((await second.client.renew(lease)).status).toBe(200);
    expect(await second.terminate()).toBe(0);
  });

  test('twenty times at once on one empty database makes twenty ready replicas', { timeout: 180_000 }, async () => {
    await using database = await emptyDatabase();
    const options = { databaseUrl: database.directUrl, directUrl: database.directUrl };
    const processes = await Promise.all(Array.from({ length: 20 }, () => launchReplica(options)));
    const replicas: Replica[] = await Promise.all(processes.map((process) => listening(process, 150_000)));
    try {
      const ready = await Promise.all(replicas.map(({ client }) => client.ready()));
      expect(ready.map(({ status }) => status)).toEqual(Array.from({ length: 20 }, () => 200));
      const ids = new Set(await Promise.all(replicas.map((replica) => replica.id())));
      expect(ids.size).toBe(20);
      const { rows } = await database.query<{ leaders: number }>(
        'select count(*)::int as leaders from signalbox.terms where ended_at is null',
      );
      expect(rows[0]?.leaders).toBeLessThanOrEqual(1);
    } finally {
      await Promise.all(replicas.map((replica) => replica.kill9()));
    }
  });
});
