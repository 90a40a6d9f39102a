import { describe, expect, it } from 'vitest';
import type { TestDatabase } from '../support/database.ts';
import { failOver } from '../support/failover.ts';
import { anId } from '../support/http-client.ts';
import { oneReplica } from '../support/one-replica.ts';
import type { TestApp } from '../support/test-app.ts';
import { signalboxRun } from '../support/wrapper.ts';

let database: TestDatabase;
let app: TestApp;

oneReplica((parts) => ({ database, replica: app } = parts), { isLed: true });

const run = (...args: readonly string[]) => signalboxRun('failover', ...args, '--url', app.url);

describe('signalbox failover', () => {
  it('shows a failover; accepted by an operator the line goes on, and the feed says who did it', async () => {
    const queue = anId('q');
    await app.client.put(queue, {});
    expect(await run('show')).toEqual({ exitCode: 0, output: 'no failover of the database was seen\n' });
    expect(await run('accept')).toEqual({ exitCode: 1, output: 'no failover of the database was seen\n' });

    await failOver(database);
    const waiting = await app.client.acquire(queue, { claim_id: 'waits', holder: 'h' });
    expect(waiting.body).toMatchObject({ state: 'waiting', waiting_for: 'quarantine' });
    expect((await run('show')).output).toMatch(
      /^failover at \S+, from timeline 00000000 to 00000001: queues grant nothing new for up to \S+/,
    );
    // What an operator has seen is not what is there.
    const other = await run('accept', '--timeline', '0000000F');
    expect(other).toMatchObject({ exitCode: 1 });
    expect(other.output).toContain('timeline 0000000F is not that of the last failover');
    expect(await run('accept', '--timeline', '1')).toMatchObject({ exitCode: 2 });

    const accepted = await run('accept', '--timeline', '00000001', '--actor', 'ann', '--json');
    expect(accepted.exitCode).toBe(0);
    expect(JSON.parse(accepted.output)).toMatchObject({
      accepted: true,
      failover: { timeline: '00000001', accepted_by: 'ann', quarantine_ms: 0 },
    });
    const held = await app.client.acquire(queue, { claim_id: 'waits', holder: 'h', wait_ms: 20_000 });
    expect(held.body.state).toBe('held');
    const again = await run('accept');
    expect(again.exitCode).toBe(0);
    expect(again.output).toContain('accepted by ann at');
    const events = await database.query(`select data from signalbox.events where type = 'database.failover_accepted'`);
    expect(events.rows).toMatchObject([{ data: { actor: 'ann' } }]);
  });
});
