import { describe, expect, it } from 'vitest';
import type { OrchestratorView } from '../../src/protocol/orchestrator.ts';
import { freshDatabase } from '../support/database.ts';
import { anId } from '../support/http-client.ts';
import { shapeOf, startTestApp, withoutLeader } from '../support/test-app.ts';
import { until } from '../support/until.ts';

const queueNotFound = { status: 404, body: { code: 'queue_not_found' } };

describe('GET /v1/orchestrator', () => {
  it('shows leader, epoch, terms, the last sweep and the replicas', async () => {
    await using database = await freshDatabase();
    await using replica = await startTestApp(database);
    const view = await until(
      async () => {
        const { status, body } = await replica.client.orchestrator();
        expect(status).toBe(200);
        const hasAll = body.last_sweep_at !== null && body.chores.length > 0 && body.replicas.length > 0;
        return hasAll ? body : undefined;
      },
      { what: 'the leader has swept' },
    );
    expect(shapeOf(view)).toEqual({
      leader: 'string',
      epoch: 'integer',
      acquired_at: 'instant',
      renewed_at: 'instant',
      expires_at: 'instant',
      ttl_remaining_ms: 'integer',
      last_sweep_at: 'instant',
      failover: 'null',
      replica_id: 'string',
      terms: 'array',
      chores: 'array',
      replicas: 'array',
    });
    expect(view).toMatchObject({ leader: replica.replicaId, replica_id: replica.replicaId, epoch: 1 });
    expect(view.ttl_remaining_ms).toBeLessThanOrEqual(10_000);
    expect(view.terms).toMatchObject([{ epoch: 1, leader: replica.replicaId, ended_at: null, end_reason: null }]);
    expect(shapeOf(view.chores[0])).toMatchObject({ chore: 'string', finished_at: 'instant', duration_ms: 'integer' });
    expect(view.replicas).toMatchObject([{ replica_id: replica.replicaId, url: replica.url, alive: true }]);
  });

  it('shows that nobody leads after the leader has resigned', async () => {
    await using database = await freshDatabase();
    await withoutLeader(database);
    await using watching = await startTestApp(database);
    await database.query(`select signalbox_v1.resign('nobody:0:test', 1)`);
    const view = await until(
      async () => {
        const { body } = await watching.client.orchestrator();
        return body.terms.length > 1 ? body : undefined;
      },
      { what: 'the next term' },
    );
    expect(view.terms.map(({ epoch, leader, end_reason }) => [epoch, leader, end_reason])).toEqual([
      [2, watching.replicaId, null],
      [1, 'nobody:0:test', 'resigned'],
    ] satisfies [number, string, OrchestratorView['terms'][number]['end_reason']][]);
  });
});

describe('AUTO_CREATE_QUEUES=false', () => {
  it('makes acquire of an unknown queue 404 queue_not_found, and PUT the only way to make one', async () => {
    await using database = await freshDatabase();
    await using replica = await startTestApp(database, { AUTO_CREATE_QUEUES: 'false' });
    const { client } = replica;
    const queue = anId('q');
    for (const mode of ['wait', 'skip_if_busy', 'latest_only'] as const) {
      expect(await client.acquire(queue, { mode, wait_ms: 10_000 })).toMatchObject(queueNotFound);
    }
    expect(await client.queue(queue)).toMatchObject(queueNotFound);
    await client.put(queue, {});
    expect(await client.acquire(queue)).toMatchObject({ status: 200 });
  });
});

describe('health and documents', () => {
  it('live under the root', async () => {
    await using database = await freshDatabase();
    await using replica = await startTestApp(database);
    const { client } = replica;
    expect(await client.alive()).toMatchObject({ status: 200, body: { alive: true } });
    expect(await client.ready()).toMatchObject({ status: 200, body: { ready: true } });
    expect(await client.ask('GET', '/openapi.json')).toMatchObject({
      status: 200,
      body: { openapi: expect.stringMatching(/^3\.1\./) as string },
    });
    expect(await client.ask('GET', '/')).toMatchObject({ status: 200 });
    const metrics = await (await fetch(`${replica.url}/metrics`)).text();
    expect(metrics).toContain('signalbox_is_leader');
  });

  it('an error is a problem document with a stable code', async () => {
    await using database = await freshDatabase();
    await using replica = await startTestApp(database);
    const reply = await replica.client.queue(anId('q'));
    expect(reply.headers.get('content-type')).toBe('application/problem+json');
    expect(reply.body).toMatchObject({
      type: 'urn:signalbox:error:queue_not_found',
      title: 'No such queue',
      status: 404,
      code: 'queue_not_found',
    });
    expect(await replica.client.ask('GET', '/v1/nothing')).toMatchObject({ body: { code: 'route_not_found' } });
    const refused = await replica.client.ask('PATCH', '/v1/queues/q');
    expect(refused).toMatchObject({ status: 405, body: { code: 'method_not_allowed' } });
  });
});
