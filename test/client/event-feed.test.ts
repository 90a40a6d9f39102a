import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it, vi } from 'vitest';
import { type EventFeed, SignalboxClient } from '../../src/client/index.ts';
import type { Event } from '../../src/protocol/events.ts';
import { anId } from '../support/http-client.ts';
import { oneReplica } from '../support/one-replica.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';
import type { TestApp } from '../support/test-app.ts';
import { feedPatienceMs } from '../support/until.ts';
import { feedExample } from './feed-example.ts';
import { type Answer, problem, ScriptedService } from './scripted-service.ts';

vi.setConfig({ testTimeout: 2 * feedPatienceMs });

let app: TestApp;
oneReplica(({ replica }) => {
  app = replica;
});

/** The claims of the next events, and what the cursor was behind each of them. */
async function told(
  feed: EventFeed,
  count: number,
): Promise<{ claims: (string | null)[]; ids: (string | undefined)[] }> {
  const [claims, ids]: [(string | null)[], (string | undefined)[]] = [[], []];
  for await (const event of feed) {
    claims.push(event.claim_id);
    ids.push(feed.cursor);
    expect(feed.cursor).toBe(event.id);
    if (claims.length === count) break;
  }
  return { claims, ids };
}

function anEvent(number: number): Event {
  return {
    id: `${number}.1`,
    type: 'claim.queued',
    queue: 'q',
    claim_id: `c${number}`,
    at: '2026-11-20T00:00:00Z',
  } as Event;
}

function aPage(...numbers: readonly number[]): Answer {
  return { status: 200, body: { events: numbers.map(anEvent), next_after: `${numbers.at(-1) ?? 0}.9` } };
}

/** A client of a service that gives these answers, one after another, and then never answers. */
async function scripted(answers: readonly Answer[]) {
  const service = await ScriptedService.start((_asked, number) => answers[number - 1] ?? 'silence');
  const client = new SignalboxClient({ url: service.url, timeoutMs: 300 });
  const afters = () => service.asked.map(({ url }) => new URL(url, 'http://x').searchParams.get('after'));
  return { service, client, afters, [Symbol.asyncDispose]: () => service[Symbol.asyncDispose]() };
}

it('tells in order what the filters let through, of the past and of what comes', async () => {
  const client = new SignalboxClient({ url: app.url });
  const queue = anId('feed');
  const labels = { tenant: anId('acme') };
  await client.enqueue(queue, { claim_id: 'a', labels });
  await client.enqueue(queue, { claim_id: 'of-another', labels: { tenant: 'other' } });
  await client.enqueue(queue, { claim_id: 'b' });
  const feed = client.events({ queue, labels });
  expect(await told(feed, 1)).toMatchObject({ claims: ['a'] });
  // Iterated again it goes on, now waiting for what is not there yet.
  const more = told(feed, 2);
  await client.enqueue(queue, { claim_id: 'c', labels });
  await client.enqueue(anId('elsewhere'), { claim_id: 'd', labels });
  await client.enqueue(queue, { claim_id: 'e', labels });
  const { claims, ids } = await more;
  expect(claims).toEqual(['c', 'e']);
  // Another process goes on behind a cursor that was kept; by prefix alone it is told of all.
  expect((await told(client.events({ after: ids[0], prefix: queue }), 1)).claims).toEqual(['e']);
  const page = await client.readEvents({ queue, limit: 2 });
  expect(page.events.map(({ claim_id: claim }) => claim)).toEqual(['a', 'of-another']);
});

it('goes on behind the last event when nothing comes through for a while, each event once', async () => {
  await using proxy = await TcpProxy.to(app.url);
  const queue = anId('cut');
  const direct = new SignalboxClient({ url: app.url });
  const failures: string[] = [];
  const feed = new SignalboxClient({ url: proxy.through(app.url), timeoutMs: 500 }).events({
    queue,
    pollMs: 100,
    onUnreachable: (error) => {
      failures.push(error.message);
      proxy.thaw();
    },
  });
  await direct.enqueue(queue, { claim_id: 'a' });
  expect(await told(feed, 1)).toMatchObject({ claims: ['a'] });
  proxy.freeze();
  await direct.enqueue(queue, { claim_id: 'b' });
  expect(await told(feed, 1)).toMatchObject({ claims: ['b'] });
  expect(failures.length).toBeGreaterThan(0);
});

it('asks again behind what it has given, whatever failed; behind what a filter left out it moves on', async () => {
  await using at = await scripted([
    aPage(1, 2),
    'hang up',
    problem(503, 'database_unavailable'),
    { status: 200, body: { events: [], next_after: '5.1' } },
    aPage(7),
  ]);
  const feed = at.client.events({ after: '0.1', labels: { a: '1', b: 'x=y' } });
  expect(feed.cursor).toBe('0.1');
  expect((await told(feed, 3)).claims).toEqual(['c1', 'c2', 'c7']);
  expect(at.afters()).toEqual(['0.1', '2.9', '2.9', '2.9', '5.1']);
  expect(at.service.asked[0]?.url).toBe('/v1/events?after=0.1&label=a%3D1&label=b%3Dx%3Dy&wait_ms=20000');
});

it('a reader that stops in the middle of a page is behind the event it was given', async () => {
  await using at = await scripted([aPage(1, 2, 3), aPage(2, 3)]);
  const feed = at.client.events();
  expect(await told(feed, 1)).toEqual({ claims: ['c1'], ids: ['1.1'] });
  expect((await told(feed, 2)).claims).toEqual(['c2', 'c3']);
  expect(at.afters()).toEqual([null, '1.1']);
});

it('from the newest on: learns where that is before it waits, so that a lost answer loses no event', async () => {
  await using at = await scripted([
    'hang up',
    { status: 200, body: { events: [], next_after: '8.1' } },
    'hang up',
    aPage(9),
  ]);
  const feed = at.client.events({ after: 'newest' });
  expect((await told(feed, 1)).claims).toEqual(['c9']);
  expect(at.afters()).toEqual(['newest', 'newest', '8.1', '8.1']);
  expect(at.service.asked.map(({ url }) => new URL(url, 'http://x').searchParams.get('wait_ms'))).toEqual([
    ...['0', '0'],
    ...['20000', '20000'],
  ]);
});

it('answers that come at once with nothing are not asked for in a spin', async () => {
  await using at = await scripted(
    Array.from({ length: 1000 }, (): Answer => ({ status: 200, body: { events: [], next_after: '0.1' } })),
  );
  const feed = at.client.events({ after: '0.1', signal: AbortSignal.timeout(500) });
  for await (const event of feed) throw new Error(`told of ${event.id}`);
  expect(at.service.asked.length).toBe(1);
});

it('ends without an error when it is aborted: while it waits, and between two events of a page', async () => {
  await using at = await scripted([aPage(1, 2)]);
  const between = new AbortController();
  const seen: string[] = [];
  const feed = at.client.events({ signal: between.signal });
  for await (const event of feed) {
    seen.push(event.id);
    between.abort();
  }
  expect([seen, feed.cursor]).toEqual([['1.1'], '1.1']);
  const waiting = new AbortController();
  const ended = (async () => {
    for await (const event of at.client.events({ signal: waiting.signal })) seen.push(event.id);
    return 'ended';
  })();
  await vi.waitFor(() => expect(at.service.asked.length).toBe(2));
  waiting.abort();
  expect(await ended).toBe('ended');
  await vi.waitFor(() => expect(at.service.asked[1]?.gone.aborted).toBe(true));
});

it('throws what the service refuses, and a label that it would take for another one', async () => {
  const client = new SignalboxClient({ url: app.url });
  const first = (feed: EventFeed) => feed[Symbol.asyncIterator]().next();
  await expect(first(client.events({ after: 'nowhere' }))).rejects.toMatchObject({ code: 'invalid_request' });
  await expect(first(client.events({ labels: { 'a=b': 'c' } }))).rejects.toThrow(TypeError);
});

it('the example of the README runs as it stands', async () => {
  const readme = readFileSync(join(import.meta.dirname, '../../README.md'), 'utf8');
  const file = readFileSync(join(import.meta.dirname, 'feed-example.ts'), 'utf8');
  const [, shown = ''] = file.split('  // README\n');
  expect(readme).toContain(shown.replaceAll(/^ {2}/gm, ''));

  const client = new SignalboxClient({ url: app.url });
  const queue = anId('deploy/example');
  const { next_after: cursor } = await client.readEvents({ after: 'newest' });
  await client.enqueue(queue, { claim_id: 'other' });
  await client.enqueue(queue, { claim_id: 'mine', labels: { tenant: 'acme' } });
  const end = new AbortController();
  const saved: (string | undefined)[] = [];
  const handled: unknown[] = [];
  await feedExample(client, {
    cursor,
    signal: end.signal,
    handle: async ({ type, claim_id: claim }) => {
      await Promise.resolve(handled.push([type, claim]));
    },
    save: async (id) => {
      await Promise.resolve(saved.push(id));
      end.abort();
    },
  });
  expect(handled).toEqual([['claim.queued', 'mine']]);
  expect(saved).toHaveLength(1);
});
