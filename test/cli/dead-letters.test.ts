import { hostname, userInfo } from 'node:os';
import { beforeEach, describe, expect, it } from 'vitest';
import type { TestDatabase } from '../support/database.ts';
import { anId } from '../support/http-client.ts';
import { oneReplica } from '../support/one-replica.ts';
import { onRuns } from '../support/sql-runs.ts';
import { makeQueues } from '../support/sql-verbs.ts';
import type { TestApp } from '../support/test-app.ts';
import { signalbox, signalboxRun } from '../support/wrapper.ts';

let database: TestDatabase;
let app: TestApp;
/** Its runs a and b failed, c waits behind them. */
let queue: string;

oneReplica((parts) => ({ database, replica: app } = parts));
beforeEach(async () => {
  queue = anId('team/q');
  await makeQueues(database, [queue], { on_failure: 'stop', concurrency_limit: 2 });
  const q = onRuns(database, queue);
  await q.enqueue('a', { payload: '{"url":"https://example.org"}' });
  await q.enqueue('b');
  for (const { claim_id: id, fencing_token: token } of await q.take(2))
    await q.release(id, token, { outcome: 'failure', error: `no disk for ${id}\n\u001b[31mred` });
  await q.enqueue('c');
});

const run = (...args: readonly string[]) => signalboxRun(...args, '--url', app.url);

describe('signalbox dead-letters', () => {
  it('list shows one a line, with the first line of its error and nothing that moves the terminal', async () => {
    const { exitCode, output } = await run('dead-letters', 'list', '--queue', queue);
    expect(exitCode).toBe(0);
    expect(output).toMatch(/^QUEUE +CLAIM_ID +REASON +ATTEMPTS +DIED +BLOCKS +ERROR$/m);
    expect(output).toMatch(new RegExp(`^${queue} +a +failure +1 of 5 +\\S+Z +yes +no disk for a$`, 'm'));
    expect(output).not.toContain('\u001b');
    expect(output.trimEnd().split('\n')).toHaveLength(3);
  });

  it('list --json is one document, with payload and history', async () => {
    const { output } = await run('dead-letters', 'list', '--prefix', queue, '--limit', '1', '--json');
    const [json = ''] = output.split('\n');
    expect(JSON.parse(json)).toMatchObject({
      more: true,
      dead_letters: [{ queue, claim_id: 'a', payload: { url: 'https://example.org' }, history: [{ attempt: 1 }] }],
    });
    expect(output).toContain('--limit shows more');
  });

  it('list says that there are none, and refuses queue and prefix together', async () => {
    expect(await run('dead-letters', 'list', '--queue', anId('none'))).toEqual({
      exitCode: 0,
      output: 'no dead letters\n',
    });
    expect((await run('dead-letters', 'list', '--queue', queue, '--prefix', 'x')).exitCode).toBe(2);
    expect((await run('dead-letters', 'list', '--limit', 'many')).exitCode).toBe(2);
  });

  it('show tells all of one: what it carries, its error and its attempts', async () => {
    const { exitCode, output } = await run('dead-letters', 'show', queue, 'a');
    expect(exitCode).toBe(0);
    expect(output).toContain('"url": "https://example.org"');
    expect(output).toMatch(/^ {2}reason +failure, outcome failure$/m);
    expect(output).toMatch(/^ {2}no disk for a\n {2}\?\[31mred$/m);
    expect(output).toMatch(/^ {2}attempt 1 {2}\S+ {2}released, outcome failure {2}worker$/m);
    expect(JSON.parse((await run('dead-letters', 'show', queue, 'a', '--json')).output)).toMatchObject({
      claim_id: 'a',
    });
  });

  it('show exits with 1 for what is no dead letter', async () => {
    const { exitCode, output } = await run('dead-letters', 'show', queue, 'c');
    expect(exitCode).toBe(1);
    expect(output).toContain(`queue ${queue} has no dead letter c`);
  });

  it('redrive puts those named back, says which are not there, and then exits with 1', async () => {
    expect(await run('dead-letters', 'redrive', queue, 'a')).toEqual({ exitCode: 0, output: 'redriven 1\n' });
    const { exitCode, output } = await run('dead-letters', 'redrive', queue, 'a', 'b');
    expect(exitCode).toBe(1);
    expect(output).toContain('redriven 1\n');
    expect(output).toContain(`queue ${queue} has no dead letter a`);
    expect(await onRuns(database, queue).line()).toEqual(['a', 'b', 'c']);
    const [first] = await onRuns(database, queue).events('claim.redriven');
    expect(first?.[2]).toMatchObject({ actor: `${userInfo().username}@${hostname()}` });
  });

  it('purge --all deletes what is there, in the name of --actor', async () => {
    const { exitCode, output } = await run('dead-letters', 'purge', queue, '--all', '--actor', 'ada', '--json');
    expect({ exitCode, answer: JSON.parse(output) as unknown }).toEqual({
      exitCode: 0,
      answer: { purged: 2, not_found: [] },
    });
    const events = await onRuns(database, queue).events('claim.purged');
    expect(events.map(([, id, data]) => [id, (data as { actor: string }).actor])).toEqual([
      ['a', 'ada'],
      ['b', 'ada'],
    ]);
  });

  it.each([[[]], [['--all', 'a']]])('redrive with the choice %j is not usable: exit 2', async (choice) => {
    const { exitCode, output } = await run('dead-letters', 'redrive', queue, ...choice);
    expect(exitCode).toBe(2);
    expect(output).toContain('Name either claim ids or --all.');
  });

  it('exits with 1 for a queue that is not there and 123 when nothing answers', async () => {
    expect((await run('dead-letters', 'redrive', anId('none'), '--all')).exitCode).toBe(1);
    await using command = await signalbox(['dead-letters', 'list', '--url', 'http://127.0.0.1:9']);
    expect(await command.ended).toMatchObject({ exitCode: 123 });
    expect(command.output).toContain('cannot be reached');
  });
});

describe('signalbox blocked', () => {
  it('list shows what stops each line, and since when', async () => {
    const { exitCode, output } = await run('blocked', 'list', '--prefix', queue);
    expect(exitCode).toBe(0);
    expect(output).toMatch(/^QUEUE +POLICY +SINCE +WAITING +CLAIM_ID +STATE +ATTEMPTS +DUE +ERROR$/m);
    expect(output).toMatch(new RegExp(`^${queue} +stop +\\S+Z +1 +a +dead \\(failure\\) +1 +- +no disk for a$`, 'm'));
    expect(output).toMatch(new RegExp(`^${queue} +stop +\\S+Z +1 +b +`, 'm'));
    const { output: json } = await run('blocked', 'list', '--prefix', queue, '--json');
    expect(JSON.parse(json)).toMatchObject({ more: false, queues: [{ queue, blocked_by: [{}, {}] }] });
    expect((await run('blocked', 'list', '--prefix', anId('none'))).output).toBe('no line is blocked\n');
  });

  it('skip lets the line go on behind one, unblock behind all', async () => {
    expect(await run('blocked', 'skip', queue, 'a', '--reason', 'known')).toEqual({
      exitCode: 0,
      output: 'a is skipped and kept as a dead letter\n',
    });
    expect(await onRuns(database, queue).take()).toEqual([]);
    expect(await run('blocked', 'unblock', queue)).toEqual({ exitCode: 0, output: 'unblocked 1\n' });
    expect(await onRuns(database, queue).take()).toMatchObject([{ claim_id: 'c' }]);
    expect((await onRuns(database, queue).events('claim.skipped'))[0]?.[2]).toMatchObject({ reason: 'known' });
  });

  it('retry puts a dead run back into line', async () => {
    expect(await run('blocked', 'retry', queue, 'a')).toEqual({
      exitCode: 0,
      output: 'a is in line; attempts so far: 1\n',
    });
    expect(await onRuns(database, queue).line()).toEqual(['a', 'c']);
  });

  it('exits with 1 and says why when a run stops nothing, or is not known', async () => {
    for (const [verb, id, why] of [
      ['skip', 'c', 'does not block its line'],
      ['retry', 'c', 'is neither delayed nor dead'],
      ['retry', 'nobody', 'is not known'],
    ] as const) {
      const { exitCode, output } = await run('blocked', verb, queue, id);
      expect(exitCode).toBe(1);
      expect(output).toContain(why);
    }
  });
});
