/**
 * The two peers a replica is compared with, in a process of their own: `fastify-post` answers a checked body and touches
 * nothing (the ceiling of this rig), `one-update` does one prepared UPDATE per request (what a home-made lease does).
 * Run by bench.ts: `node contender-servers.ts NAME DATABASE_URL`, prints its port.
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
  properties: { holder: { type: 'string' }, fencing_token: { type: 'integer' } },
} as const;
interface Request {
  Params: { queue: string };
  Body: { holder: string; fencing_token?: number };
}

if (name === 'fastify-post') {
  let token = 0;
  app.post<Request>('/v1/queues/:queue/acquire', { schema: { body: bodySchema } }, async (request) => ({
    queue: request.params.queue,
    holder: request.body.holder,
    fencing_token: ++token,
    claim_id: 'c',
  }));
  app.post('/v1/queues/:queue/claims/:claim/release', async () => ({ released: true }));
} else {
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 10 });
  await pool.query(
    'create table if not exists one_update (queue text primary key, holder text, token bigint not null)',
  );
  await pool.query(
    `insert into one_update select 'bench-' || n, null, 0 from generate_series(0, 999) n on conflict do nothing`,
  );
  app.post<Request>('/v1/queues/:queue/acquire', { schema: { body: bodySchema } }, async (request, reply) => {
    const { rows } = await pool.query<{ token: string }>({
      name: 'acquire',
      text: 'update one_update set holder = $2, token = token + 1 where queue = $1 and holder is null returning token',
      values: [request.params.queue, request.body.holder],
    });
    if (rows[0] === undefined) return reply.code(409).send({ code: 'queue_busy' });
    return { claim_id: 'c', fencing_token: Number(rows[0].token) };
  });
  app.post<Request>('/v1/queues/:queue/claims/:claim/release', async (request) => {
    const { rowCount } = await pool.query({
      name: 'release',
      text: 'update one_update set holder = null where queue = $1 and token = $2 and holder is not null',
      values: [request.params.queue, request.body.fencing_token],
    });
    return { released: rowCount === 1 };
  });
}
await app.listen({ host: '127.0.0.1', port: 0 });
console.log(`listens on ${(app.server.address() as AddressInfo).port}`);
