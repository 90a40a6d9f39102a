/**
 * The two servers a replica is compared with, in a process of their own: `fastify-post` answers a checked body and touches
 * nothing (the ceiling of this rig), `one-update` does one prepared UPDATE per request (what a home-made lease does).
 * Run as `node plain-server.ts NAME DATABASE_URL`, prints its port.
 */
import type { AddressInfo } from 'node:net';
import { fastify } from 'fastify';
import pg from 'pg';

const [name, databaseUrl] = process.argv.slice(2);
const app = fastify();
const bodySchema = {
  type: 'object',
  required: ['holder'],
  additionalProperties: false,
  properties: { holder: { type: 'string' }, claim_id: { type: 'string' } },
} as const;
const tokenSchema = {
  type: 'object',
  required: ['fencing_token'],
  additionalProperties: false,
  properties: { fencing_token: { type: 'integer' } },
} as const;
interface Acquire {
  Params: { queue: string };
  Body: { holder: string };
}
interface WithToken {
  Params: { queue: string };
  Body: { fencing_token: number };
}
const acquireUrl = '/v1/queues/:queue/acquire';
const releaseUrl = '/v1/queues/:queue/claims/:claim/release';
const renewUrl = '/v1/queues/:queue/claims/:claim/renew';

if (name === 'fastify-post') {
  let token = 0;
  app.post<Acquire>(acquireUrl, { schema: { body: bodySchema } }, async (request) => ({
    queue: request.params.queue,
    holder: request.body.holder,
    fencing_token: ++token,
    claim_id: 'c',
  }));
  app.post<WithToken>(releaseUrl, { schema: { body: tokenSchema } }, async () => ({ released: true }));
} else {
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 10 });
  await pool.query(
    `create table if not exists one_update (queue text primary key, holder text, token bigint not null,
       expires_at timestamptz not null default now())`,
  );
  await pool.query(
    `insert into one_update (queue, token)
     select 'bench-' || n, 0 from generate_series(0, 9999) n on conflict do nothing`,
  );
  app.post<Acquire>(acquireUrl, { schema: { body: bodySchema } }, async (request, reply) => {
    const { rows } = await pool.query<{ token: string }>({
      name: 'acquire',
      text: `update one_update set holder = $2, token = token + 1, expires_at = now() + interval '30 seconds'
             where queue = $1 and holder is null returning token`,
      values: [request.params.queue, request.body.holder],
    });
    if (rows[0] === undefined) return reply.code(409).send({ code: 'queue_busy' });
    return { claim_id: 'c', fencing_token: Number(rows[0].token) };
  });
  app.post<WithToken>(releaseUrl, { schema: { body: tokenSchema } }, async (request) => {
    const { rowCount } = await pool.query({
      name: 'release',
      text: 'update one_update set holder = null where queue = $1 and token = $2 and holder is not null',
      values: [request.params.queue, request.body.fencing_token],
    });
    return { released: rowCount === 1 };
  });
  app.post<WithToken>(renewUrl, { schema: { body: tokenSchema } }, async (request, reply) => {
    const { rowCount } = await pool.query({
      name: 'renew',
      text: `update one_update set expires_at = now() + interval '30 seconds'
             where queue = $1 and token = $2 and holder is not null`,
      values: [request.params.queue, request.body.fencing_token],
    });
    return rowCount === 1 ? { ttl_remaining_ms: 30_000 } : reply.code(410).send({ code: 'lease_lost' });
  });
}
await app.listen({ host: '127.0.0.1', port: 0 });
console.log(`listens on ${(app.server.address() as AddressInfo).port}`);
