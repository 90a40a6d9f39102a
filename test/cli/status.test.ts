import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Status } from '../../src/cli/status.ts';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { onRuns } from '../support/sql-runs.ts';
import { makeQueues } from '../support/sql-verbs.ts';
import { lineUp, startTestApp, type TestApp } from '../support/test-app.ts';
import { until } from '../support/until.ts';
import { signalbox } from '../support/wrapper.ts';

let database: TestDatabase;
let app: TestApp;

beforeAll(async () => {
  database = await freshDatabase();
  app = await startTestApp(database);
  await app.client.put('deploy/production', { concurrency_limit: 1 });
  await app.client.put('other', { concurrency_limit: null, paused: true });
  await app.client.acquire('deploy/production', { claim_id: 'build-17', holder: 'ci:1', ttl_ms: 300_000 });
  await lineUp(app.client, 'deploy/production', 'build-18', 'build-19');
  await until(async () => (await app.client.orchestrator()).body.leader, { what: 'somebody leads' });
});

afterAll(async () => {
  await app[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

async function status(...args: readonly string[]): Promise<{ exitCode: number | null; output: string }> {
  await using command = await signalbox(['status', '--url', app.url, ...args]);
  const { exitCode } = await command.ended;
  return { exitCode, output: command.output };
}

describe('signalbox status', () => {
  it('shows leader, replicas, queues, holders with time and token, and the line with reasons', async () => {
    const { exitCode, output } = await status();
    expect(exitCode).toBe(0);
    expect(output).toMatch(new RegExp(`^${app.url}  leader ${app.replicaId}, epoch 1, `));
    expect(output).toMatch(/^QUEUE +LIMIT +HELD +WAITING +DELAYED +DEAD +OLDEST WAIT +STATE$/m);
    expect(output).toMatch(/^deploy\/production +1 +1 +2 +0 +0 +\S+ +open$/m);
    expect(output).toMatch(/^other +none +0 +0 +0 +0 +- +paused$/m);
    expect(output).toMatch(/^ {2}slot 1 +build-17 +ci:1 +(4m \d+s|5m) left +token \d+$/m);
    expect(output).toMatch(
      /^ {2}position 1 +build-18 +holder of build-18 +no_free_slot +priority 0, since \S+ +next in line; 1 of 1 places taken, by \S+$/m,
    );
    expect(output).toMatch(/^ {2}position 2 +build-19 +holder of build-19 +behind_others +/m);
    expect(output).not.toMatch(/ $/m);
  });

  it('shows runs in line, those to come, dead ones, and that these stop the line', async () => {
    await makeQueues(database, ['runs'], { on_failure: 'stop' });
    const q = onRuns(database, 'runs');
    for (const id of ['a', 'b']) await q.enqueue(id);
    await q.enqueue('later', { delay_ms: 60_000 });
    await q.work('a', { outcome: 'failure' });
    await q.enqueue('urgent', { priority: 2 });
    const { output } = await status('runs');
    expect(output).toMatch(/^runs +1 +0 +2 +1 +1 +\S+ +blocked$/m);
    expect(output).toMatch(/^ {2}position 1 +urgent +run +taker +priority 2, since \S+ +no worker has taken it yet$/m);
    expect(output).toMatch(
      /^ {2}position 2 +b +run +blocked +priority 0, since \S+ +behind a retried or failed run: signalbox blocked list$/m,
    );
    expect(output).not.toContain('more in line');
  });

  it('tells of slots that are dirty, and who cleans one', async () => {
    const { client } = app;
    await client.put('bench', { cleanup: true, concurrency_limit: 3 });
    for (const lease of [await client.hold('bench'), await client.hold('bench')]) await client.release(lease);
    await client.ask('POST', '/v1/queues/bench/clean', { holder: 'mop:1', ttl_ms: 60_000 });
    const { output } = await status('bench');
    expect(output).toMatch(/^bench +3 +0 +0 +0 +0 +- +dirty 1, cleaning 1$/m);
    expect(output).toMatch(/^ {2}slot \d +\S+ +mop:1 +\S+ left +token \d+, cleaning$/m);
  });

  it('--json is one document in the words of the HTTP interface', async () => {
    const { output } = await status('--json', '--prefix', 'deploy/');
    const document = JSON.parse(output) as Status;
    expect(document.queues.map(({ queue }) => queue)).toEqual(['deploy/production']);
    expect(document.queues[0]).toMatchObject({ held: 1, waiting: 2, holders: [{ claim_id: 'build-17' }] });
    expect(document.orchestrator).toMatchObject({ leader: app.replicaId, replica_id: app.replicaId });
    expect(document.missing).toEqual([]);
  });

  it('exits with 1 for a queue that is not there, and shows the others', async () => {
    const { exitCode, output } = await status('other', 'no-such-queue');
    expect(exitCode).toBe(1);
    expect(output).toContain('there is no queue no-such-queue');
    expect(output).toMatch(/^other /m);
    expect(output).not.toContain('build-17');
  });

  it('exits with 123 when nothing answers', async () => {
    await using command = await signalbox(['status', '--url', 'http://127.0.0.1:9']);
    expect(await command.ended).toMatchObject({ exitCode: 123 });
    expect(command.output).toContain('cannot be reached');
  });

  it('--watch shows every change until a signal, and then exits with 0', async () => {
    await using command = await signalbox(['status', '--url', app.url, '--watch', '--every', '100ms', 'watched']);
    await command.line(/there is no queue watched/);
    await app.client.hold('watched', { ttl_ms: 60_000 });
    await command.line(/^watched +1 +1 +0/);
    await app.client.acquire('watched', {});
    await command.line(/^watched +1 +1 +1/);
    expect(await command.terminate()).toMatchObject({ exitCode: 0 });
  });
});
