import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { TemporaryDataDir } from '../support/data-dir.ts';
import { freshDatabase } from '../support/database.ts';
import { anId, type Problem, waiting } from '../support/http-client.ts';
import { startReplica } from '../support/replica.ts';
import { until } from '../support/until.ts';

describe('SIGTERM', () => {
  test('answers every open long-poll with its present state, and the replica exits with 0', async () => {
    await using database = await freshDatabase();
    await using replica = await startReplica({ databaseUrl: database.url, directUrl: database.directUrl });
    const queue = anId('line');
    await replica.client.hold(queue, { ttl_ms: 300_000 });
    // Half of them let the server make their claim id: only an answer can tell it to them.
    const polls = Array.from({ length: 20 }, (_, number) =>
      replica.client.acquire(queue, {
        holder: `client-${number}`,
        wait_ms: 60_000,
        ...(number % 2 === 0 ? { claim_id: `claim-${number}` } : {}),
      }),
    );
    await until(async () => (await replica.client.queue(queue)).body.waiting === 20, { what: 'all of them wait' });

    const stoppedAt = performance.now();
    const exit = replica.terminate();
    const replies = await Promise.all(polls);
    expect(await exit).toBe(0);
    expect(performance.now() - stoppedAt).toBeLessThan(5000);

    for (const [number, reply] of replies.entries()) {
      if (reply.status === 503) expect((reply.body as Problem).code).toBe('shutting_down');
      else expect(waiting(reply).holder).toBe(`client-${number}`);
    }
    const { rows } = await database.query<{ claim_id: string }>(
      'select claim_id from signalbox.waiting where queue = $1',
      [queue],
    );
    const told = replies.flatMap((reply) => (reply.status === 202 ? [waiting(reply).claim_id] : []));
    expect(rows.map((row) => row.claim_id)).toEqual(expect.arrayContaining(told));
    expect(rows).toHaveLength(20);
  });

  test('under load loses no request: each gets an answer, and each grant that was answered is known', async () => {
    await using database = await freshDatabase();
    const options = { databaseUrl: database.url, directUrl: database.directUrl };
    await using stopping = await startReplica(options);
    await using other = await startReplica(options);
    let [answered, isStopped] = [0, false];
    const granted: string[] = [];
    const lost: string[] = [];
    const client = async (number: number) => {
      for (let round = 0; !isStopped; round++) {
        const body = { holder: `client-${number}`, claim_id: `${number}-${round}` };
        try {
          const reply = await stopping.client.acquire(`queue-${number}-${round}`, body);
          answered++;
          if (reply.status === 200) granted.push(body.claim_id);
          else if (reply.status !== 503 || (reply.body as Problem).code !== 'shutting_down')
            lost.push(`${body.claim_id}: ${reply.status} ${JSON.stringify(reply.body)}`);
        } catch (error) {
          const { code } = ((error as Error).cause ?? {}) as { code?: string };
          // Nobody listens any more, or the idle connection was closed before the request went out on it.
          if (code !== 'ECONNREFUSED' && code !== 'UND_ERR_SOCKET' && code !== 'ECONNRESET') lost.push(String(error));
          else isStopped = true;
        }
      }
    };
    const clients = Promise.all(Array.from({ length: 8 }, (_, number) => client(number)));
    await until(() => answered > 200, { what: 'the load runs' });
    expect(await stopping.terminate()).toBe(0);
    isStopped = true;
    await clients;

    expect(lost).toEqual([]);
    const { rows } = await database.query<{ claim_id: string }>('select claim_id from signalbox.leases');
    const known = new Set(rows.map((row) => row.claim_id));
    expect(granted.filter((claimId) => !known.has(claimId))).toEqual([]);
    expect((await other.client.ready()).status).toBe(200);
  });

  test('of the last replica on an embedded server leaves no postgres process behind', { timeout: 90_000 }, async () => {
    await using dataDir = await TemporaryDataDir.make();
    await using replica = await startReplica({ env: { SIGNALBOX_DATA_DIR: dataDir.path }, timeoutMs: 60_000 });
    expect(await processesOf(dataDir.path)).not.toEqual([]);
    const queue = anId('line');
    await replica.client.hold(queue);
    const poll = replica.client.acquire(queue, { wait_ms: 60_000 });
    await until(async () => (await replica.client.queue(queue)).body.waiting === 1, { what: 'it waits' });

    const exit = replica.terminate();
    expect([202, 503]).toContain((await poll).status);
    expect(await exit).toBe(0);
    expect(await processesOf(dataDir.path)).toEqual([]);
    expect(existsSync(dataDir.lockFile)).toBe(false);
  });
});

/** Processes that name the directory among their arguments; one that has ended and waits for its parent names nothing. */
async function processesOf(directory: string): Promise<string[]> {
  const { stdout } = await promisify(execFile)('ps', ['-eo', 'args']);
  return stdout.split('\n').filter((line) => line.includes('postgres') && line.includes(directory));
}
