import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { anId } from '../support/http-client.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';
import { startTestApp, type TestApp, untilWaiting } from '../support/test-app.ts';
import { until } from '../support/until.ts';
import { beatingScript, type Beats, beatsIn, signalbox } from '../support/wrapper.ts';
import { StallMeter } from '../support/stalls.ts';

/** In seconds, as beats are. */
const ttl = 2;

let database: TestDatabase;
let app: TestApp;
let directory: string;

beforeAll(async () => {
  database = await freshDatabase();
  app = await startTestApp(database);
  directory = await mkdtemp(join(tmpdir(), 'signalbox-elect-'));
});

afterAll(async () => {
  await app[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

/** A leader at work and a candidate behind it; their commands ignore TERM and beat. */
async function twoCandidates(stack: AsyncDisposableStack, url = app.url) {
  const election = anId('faults');
  const file = (who: string) => join(directory, `${election}-${who}`);
  const stand = async (who: string, at: string) =>
    stack.use(
      await signalbox([
        ...['elect', '--url', at, '--election', election, '--ttl', `${ttl}s`],
        ...['--', 'sh', '-c', beatingScript(`${file(who)}-$SIGNALBOX_TERM`)],
      ]),
    );
  const beats = async (who: string, process: { output: string }): Promise<Beats> => {
    const term = () => [...process.output.matchAll(/leading \S+, term (\d+)/g)].at(-1)?.[1];
    return until(() => beatsIn(`${file(who)}-${term()}`), { what: `${who} beats` });
  };
  const leader = await stand('first', url);
  await beats('first', leader);
  const next = await stand('second', app.url);
  await untilWaiting(app.client, election, 1);
  return { election, leader, next, beats };
}

it('a leader that is killed with -9 is followed within its ttl and a second, when its command has ended', async () => {
  await using stack = new AsyncDisposableStack();
  const { leader, next, beats } = await twoCandidates(stack);
  await using stalls = new StallMeter(() => Promise.resolve());
  const killedAtMs = performance.now();
  await leader.kill();
  await next.line(/^signalbox: leading/);
  expect(performance.now() - killedAtMs).toBeLessThan((ttl + 1) * 1000 + 3 * stalls.worstMs);
  const [before, after] = [await beats('first', leader), await beats('second', next)];
  expect(before.last).toBeLessThan(after.first);
  expect(after.token).toBeGreaterThan(before.token);
});

it('the command of a paused leader is ended before the next leads; awake again it stands behind it', async () => {
  await using stack = new AsyncDisposableStack();
  const { election, leader, next, beats } = await twoCandidates(stack);
  leader.pause();
  await next.line(/^signalbox: leading/);
  const [before, after] = [await beats('first', leader), await beats('second', next)];
  expect(before.last).toBeLessThan(after.first);
  leader.resume();
  await leader.line(/^signalbox: standing for election again$/);
  await untilWaiting(app.client, election, 1);
});

it('a leader without the service is ended in time, and stands again when it answers', async () => {
  await using stack = new AsyncDisposableStack();
  const proxy = stack.use(await TcpProxy.to(app.url));
  const { leader, next, beats } = await twoCandidates(stack, proxy.through(app.url));
  proxy.freeze();
  await next.line(/^signalbox: leading/);
  const [before, after] = [await beats('first', leader), await beats('second', next)];
  expect(before.last).toBeLessThan(after.first);
  await leader.line(/the command has been ended/);
  proxy.thaw();
  await leader.line(/waiting for a place .* held by/);
  await next.kill();
  await until(() => (leader.output.match(/leading \S+, term/g) ?? []).length === 2, { what: 'it leads again' });
  expect((await beats('first', leader)).token).toBeGreaterThan(after.token);
});
