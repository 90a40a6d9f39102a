import { beforeEach, describe, expect, it } from 'vitest';
import { type MergeQueueKey, SignalboxClient } from '../../src/client/index.ts';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { anId } from '../support/http-client.ts';
import { oneReplica } from '../support/one-replica.ts';
import { startTestApp } from '../support/test-app.ts';
import { aToken } from '../support/token-app.ts';

let database: TestDatabase;
let client: SignalboxClient;
let key: MergeQueueKey;

oneReplica((parts) => {
  ({ database } = parts);
  client = new SignalboxClient({ url: parts.replica.url });
});
beforeEach(() => {
  key = { owner: 'acme', repo: anId('shop').replaceAll('/', '-'), base_ref: 'release/1.x' };
});

describe('merge queues by the client', () => {
  it('are made, changed at the version last seen, read and listed; a detail is a key', async () => {
    const made = await client.configureMergeQueue(key, { ttl_ms: 5000 }, { ifVersion: 0 });
    expect(made).toMatchObject({ ...key, ttl_ms: 5000, version: 1, mode: 'open', held_ms: null });
    const changed = await client.configureMergeQueue(made, { ttl_ms: 6000 }, { ifVersion: 1 });
    expect(changed).toMatchObject({ ttl_ms: 6000, version: 2 });
    await expect(client.configureMergeQueue(key, {}, { ifVersion: 1 })).rejects.toMatchObject({
      code: 'version_mismatch',
    });
    expect(await client.getMergeQueue(key)).toEqual(changed);
    const page = await client.listMergeQueues({ prefix: `merge-queue/acme/${key.repo}/` });
    expect(page).toEqual({ merge_queues: [changed], next_cursor: null });
  });

  it('are cleared and deleted; those that are not there say so', async () => {
    await client.configureMergeQueue(key, {});
    await client.clearMergeQueue(key);
    await client.deleteMergeQueue(key, { force: true, ifVersion: 1 });
    for (const call of [() => client.getMergeQueue(key), () => client.deleteMergeQueue(key)])
      await expect(call()).rejects.toMatchObject({ code: 'merge_queue_not_found' });
  });

  it('clear of one that is not there is merge_queue_not_found where none is made on first use', async () => {
    await using strict = await startTestApp(database, { MERGE_QUEUE_AUTO_CREATE: 'false' });
    const call = new SignalboxClient({ url: strict.url }).clearMergeQueue(key);
    await expect(call).rejects.toMatchObject({ code: 'merge_queue_not_found' });
  });

  it('clear with a token that may not, or none, is refused with the code of every other call', async () => {
    await using guarded = await freshDatabase();
    const [{ token }, { token: admin }] = [await aToken(guarded, { scope: 'use' }), await aToken(guarded)];
    await using replica = await startTestApp(guarded);
    const { url } = replica;
    await expect(new SignalboxClient({ url }).clearMergeQueue(key)).rejects.toMatchObject({ code: 'unauthenticated' });
    const refused = new SignalboxClient({ url, token }).clearMergeQueue(key);
    await expect(refused).rejects.toMatchObject({
      code: 'forbidden',
      message: expect.stringContaining('admin') as string,
    });
    await new SignalboxClient({ url, token: admin }).clearMergeQueue(key);
  });
});
