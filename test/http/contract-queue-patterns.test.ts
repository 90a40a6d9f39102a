import { describe, expect, it } from 'vitest';
import type { EventPage } from '../../src/protocol/events.ts';
import type { QueuePatternDetail, QueuePatternPage } from '../../src/protocol/patterns.ts';
import { everySetting } from '../support/every-setting.ts';
import { anId, held, type Problem, type TestClient } from '../support/http-client.ts';
import { oneReplica } from '../support/one-replica.ts';
import { lineUp } from '../support/test-app.ts';

let client: TestClient;
oneReplica((parts) => ({ client } = parts));

const pathOf = (pattern: string) => `/v1/queue-patterns/${encodeURIComponent(pattern)}`;
const put = (pattern: string, settings: object) =>
  client.ask<QueuePatternDetail & Problem>('PUT', pathOf(pattern), settings);
const remove = (pattern: string) => client.ask<Problem>('DELETE', pathOf(pattern));

async function putIf(pattern: string, ifMatch: string, settings: object) {
  const response = await fetch(client.url + pathOf(pattern), {
    method: 'PUT',
    headers: { 'content-type': 'application/json', 'if-match': ifMatch },
    body: JSON.stringify(settings),
  });
  return { status: response.status, body: (await response.json()) as QueuePatternDetail & Problem };
}

describe('limits by pattern', () => {
  it('P71, M11: a queue without a limit of its own has the pattern’s 2, one with its own 3 has 3', async () => {
    const prefix = `${anId('p71')}/`;
    await put(`${prefix}*`, { concurrency_limit: 2 });
    await client.put(`${prefix}local`, { concurrency_limit: 3 });
    for (const [queue, peak] of [
      [`${prefix}any`, 2],
      [`${prefix}local`, 3],
    ] as const) {
      const answers = await Promise.all(Array.from({ length: 10 }, () => client.acquire(queue)));
      expect(answers.filter(({ status }) => status === 200)).toHaveLength(peak);
      expect((await client.queue(queue)).body).toMatchObject({ held: peak, waiting: 10 - peak });
    }
  });

  it('P72, M12: raising the pattern from 1 to 5 grants the four that wait, with none released', async () => {
    const prefix = `${anId('p72')}/`;
    await put(`${prefix}*`, { concurrency_limit: 1 });
    await client.hold(`${prefix}q`);
    const waiting = Array.from({ length: 4 }, (_, n) =>
      client.acquire(`${prefix}q`, { claim_id: `w${n}`, wait_ms: 20_000 }),
    );
    await expect.poll(async () => (await client.queue(`${prefix}q`)).body.waiting).toBe(4);
    await put(`${prefix}*`, { concurrency_limit: 5 });
    for (const answer of await Promise.all(waiting)) expect(answer.status).toBe(200);
    expect((await client.queue(`${prefix}q`)).body).toMatchObject({ held: 5, waiting: 0, draining: 0 });
  });

  it('P73: with the limit taken away all that wait are granted', async () => {
    const prefix = `${anId('p73')}/`;
    await put(`${prefix}*`, { concurrency_limit: 1 });
    await client.hold(`${prefix}q`);
    await lineUp(client, `${prefix}q`, 'a', 'b', 'c', 'd');
    await put(`${prefix}*`, { concurrency_limit: null });
    expect((await client.queue(`${prefix}q`)).body).toMatchObject({ held: 5, waiting: 0, concurrency_limit: null });
  });

  it('lowering drains and says how many are above; 0 grants nothing; deleting goes back to the default', async () => {
    const prefix = `${anId('lower')}/`;
    await put(`${prefix}*`, { concurrency_limit: 3 });
    const queue = `${prefix}q`;
    const leases = [
      held(await client.acquire(queue)),
      held(await client.acquire(queue)),
      held(await client.acquire(queue)),
    ];
    await lineUp(client, queue, 'next');
    await put(`${prefix}*`, { concurrency_limit: 0 });
    expect((await client.queue(queue)).body).toMatchObject({ held: 3, draining: 3, waiting: 1 });
    for (const lease of leases) await client.release(lease);
    expect((await client.queue(queue)).body).toMatchObject({ held: 0, waiting: 1 });
    await remove(`${prefix}*`);
    expect((await client.queue(queue)).body).toMatchObject({ held: 1, waiting: 0, concurrency_limit: 1 });
  });
});

describe('a setting of a queue', () => {
  it('is its own once PUT names it, whatever patterns do, and the pattern’s again once given back', async () => {
    const prefix = `${anId('own')}/`;
    const queue = `${prefix}q`;
    await put(`${prefix}*`, { concurrency_limit: 2, lock_delay_ms: 5 });
    const own = (await client.put(queue, { concurrency_limit: 1 })).body;
    expect(own).toMatchObject({ concurrency_limit: 1, lock_delay_ms: 5, auto_created: false });
    expect(own.sources).toMatchObject({
      concurrency_limit: 'local',
      lock_delay_ms: `pattern: ${prefix}*`,
      paused: 'default',
    });
    await put(`${prefix}*`, { concurrency_limit: 4 });
    expect((await client.queue(queue)).body).toMatchObject({ concurrency_limit: 1, lock_delay_ms: 0 });
    const back = (await client.put(queue, { inherit: ['concurrency_limit'] })).body;
    expect(back).toMatchObject({ concurrency_limit: 4, sources: { concurrency_limit: `pattern: ${prefix}*` } });
    await put(`${prefix}*`, { concurrency_limit: 6 });
    expect((await client.queue(queue)).body.concurrency_limit).toBe(6);
  });

  it('null is its own too: no bound, and not what the pattern says', async () => {
    const prefix = `${anId('null')}/`;
    await put(`${prefix}*`, { max_hold_ms: 5000, concurrency_limit: 2 });
    const { body } = await client.put(`${prefix}q`, { max_hold_ms: null, concurrency_limit: null });
    expect(body).toMatchObject({ max_hold_ms: null, concurrency_limit: null });
    await put(`${prefix}*`, { max_hold_ms: 6000, concurrency_limit: 3 });
    expect((await client.queue(`${prefix}q`)).body).toMatchObject({ max_hold_ms: null, concurrency_limit: null });
  });

  it('cannot be set and given back in one call, nor be one that does not exist', async () => {
    const queue = anId('q');
    expect(await client.put(queue, { paused: true, inherit: ['paused'] })).toMatchObject({
      status: 400,
      body: { code: 'invalid_settings' },
    });
    expect(await client.put(queue, { inherit: ['colour'] })).toMatchObject({ status: 400 });
    expect((await client.queue(queue)).status).toBe(404);
  });

  it('what a pattern says of default_ttl_ms gives way to the queue’s own max_ttl_ms, also when said again', async () => {
    const prefix = `${anId('ttl')}/`;
    await put(`${prefix}*`, { default_ttl_ms: 120_000 });
    for (let round = 0; round < 2; round++) {
      const { status, body } = await client.put(`${prefix}q`, { max_ttl_ms: 60_000 });
      expect({ status, ttl: body.default_ttl_ms }).toEqual({ status: 200, ttl: 60_000 });
    }
    await put(`${prefix}*`, { default_ttl_ms: 90_000 });
    expect((await client.queue(`${prefix}q`)).body).toMatchObject({ default_ttl_ms: 60_000, max_ttl_ms: 60_000 });
    await client.put(`${prefix}q`, { inherit: ['max_ttl_ms'] });
    expect((await client.queue(`${prefix}q`)).body).toMatchObject({ default_ttl_ms: 90_000, max_ttl_ms: 300_000 });
  });
});

describe('patterns', () => {
  it('are set as a whole, read with an ETag, listed by name in pages, and deleted', async () => {
    const prefix = anId('list');
    for (const end of ['/b/*', '*', '/a*']) await put(`${prefix}${end}`, { concurrency_limit: 2, paused: true });
    const whole = await put(`${prefix}*`, { max_attempts: 9 });
    expect(whole).toMatchObject({
      status: 200,
      body: { pattern: `${prefix}*`, settings: { max_attempts: 9 }, spreading: false, updated_by: null },
    });
    const read = await client.ask<QueuePatternDetail>('GET', pathOf(`${prefix}*`));
    expect(read.body).toEqual(whole.body);
    expect(read.headers.get('etag')).toBe(`"${whole.body.version}"`);
    const first = await client.ask<QueuePatternPage>('GET', `/v1/queue-patterns?prefix=${prefix}&limit=2`);
    expect(first.body.patterns.map(({ pattern }) => pattern)).toEqual([`${prefix}*`, `${prefix}/a*`]);
    const cursor = encodeURIComponent(first.body.next_cursor ?? '');
    const second = await client.ask<QueuePatternPage>(
      'GET',
      `/v1/queue-patterns?prefix=${prefix}&limit=2&cursor=${cursor}`,
    );
    expect(second.body).toMatchObject({ patterns: [{ pattern: `${prefix}/b/*` }], next_cursor: null });
    expect(await remove(`${prefix}*`)).toMatchObject({ status: 200, body: { deleted: true } });
    for (const answer of [await remove(`${prefix}*`), await client.ask('GET', pathOf(`${prefix}*`))])
      expect(answer).toMatchObject({ status: 404, body: { code: 'pattern_not_found' } });
  });

  it('are changed only at the version named by If-Match', async () => {
    const pattern = `${anId('if')}/*`;
    const stale = { status: 412, body: { code: 'version_mismatch' } };
    expect(await putIf(pattern, '*', {})).toMatchObject(stale);
    expect(await putIf(pattern, '"1"', {})).toMatchObject(stale);
    const { body } = await putIf(pattern, '"0"', { concurrency_limit: 2 });
    expect(await putIf(pattern, '"0"', { concurrency_limit: 3 })).toMatchObject(stale);
    const next = await putIf(pattern, `"${body.version}"`, { concurrency_limit: 3 });
    expect(next).toMatchObject({ status: 200, body: { settings: { concurrency_limit: 3 } } });
    expect(await putIf(pattern, `"${body.version}"`, { concurrency_limit: 4 })).toMatchObject(stale);
    // The same settings again are no change.
    expect((await put(pattern, { concurrency_limit: 3 })).body.version).toBe(next.body.version);
  });

  it.each(['repo', 'repo/*/x', '**', 're po*', `${'x'.repeat(200)}*`])('%s is no pattern', async (pattern) => {
    expect(await put(pattern, {})).toMatchObject({ status: 400, body: { code: 'invalid_request' } });
  });

  it.each([{ concurrency_limit: -1 }, { colour: 1 }, { inherit: ['paused'] }, { default_ttl_ms: null }])(
    '%j is refused',
    async (settings) => {
      const pattern = `${anId('bad')}/*`;
      expect(await put(pattern, settings)).toMatchObject({ status: 400, body: { code: 'invalid_request' } });
      expect((await client.ask('GET', pathOf(pattern))).status).toBe(404);
    },
  );

  it('a default_ttl_ms above the max_ttl_ms a queue of it would have is refused', async () => {
    const answer = await put(`${anId('bad')}/*`, { default_ttl_ms: 300_001 });
    expect(answer).toMatchObject({ status: 400, body: { code: 'invalid_settings' } });
  });

  it('tell the feed what changed, of themselves and of each queue', async () => {
    const prefix = `${anId('feed')}/`;
    await client.put(`${prefix}q`, {});
    await put(`${prefix}*`, { concurrency_limit: 2 });
    await put(`${prefix}*`, { concurrency_limit: 2 });
    await remove(`${prefix}*`);
    const read = async () => {
      const { body } = await client.ask<EventPage>('GET', `/v1/events?prefix=${encodeURIComponent(prefix)}`);
      return body.events.map(({ type, queue }) => `${queue?.slice(prefix.length) ?? ''} ${type}`);
    };
    await expect.poll(async () => (await read()).length).toBe(5);
    expect(await read()).toEqual([
      'q queue.changed',
      '* pattern.changed',
      'q queue.changed',
      '* pattern.deleted',
      'q queue.changed',
    ]);
  });
});

describe('what a file made', () => {
  const path = () => `/v1/applied-files/${anId('label')}`;
  const record = async (url: string, version: number, body: object) => {
    const response = await fetch(client.url + url, {
      method: 'PUT',
      headers: { 'content-type': 'application/json', 'if-match': `"${version}"` },
      body: JSON.stringify(body),
    });
    return { status: response.status, body: (await response.json()) as object };
  };

  it('is remembered by label, at a version that only one of two writers gets', async () => {
    const url = path();
    const nothing = { queues: {}, patterns: [], merge_queues: [] };
    expect((await client.ask('GET', url)).body).toMatchObject({ made: nothing, version: 0 });
    const made = { queues: { a: ['paused'] }, patterns: ['a*'], merge_queues: [] };
    expect(await record(url, 0, made)).toMatchObject({ status: 200, body: { version: 1 } });
    expect(await record(url, 0, nothing)).toMatchObject({ status: 412 });
    expect(await record(url, 1, nothing)).toMatchObject({ status: 200, body: { version: 2 } });
    expect((await client.ask('PUT', url, made)).status).toBe(400);
    expect((await client.ask('GET', url)).body).toMatchObject({ made: nothing, version: 2 });
  });
});

it('a pattern takes every setting that a queue has, and gives it to its queues', async () => {
  const prefix = `${anId('every')}/`;
  await client.put(`${prefix}q`, { paused: false, inherit: [] });
  expect(await put(`${prefix}*`, everySetting)).toMatchObject({ status: 200, body: { settings: everySetting } });
  const { sources, ...queue } = (await client.queue(`${prefix}q`)).body;
  expect(queue).toMatchObject({ ...everySetting, paused: false });
  expect(new Set(Object.values(sources))).toEqual(new Set(['local', `pattern: ${prefix}*`]));
  expect(await put(`${prefix}*`, { ...everySetting, on_full: 'drop' })).toMatchObject({ status: 400 });
});
