// npm run stress: the load of over-admission.test.ts with 100,000 attempts per limit, on the embedded server as users
// run it (fsync on). STRESS_ATTEMPTS and STRESS_LIMITS (a comma between them) make it smaller. Exit code 1 = violated.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { openEmbeddedServer } from '../../src/store/embedded/index.ts';
import { findViolations, mostAtOnce, readGrants } from '../support/admission-history.ts';
import { runLoad } from '../support/admission-load.ts';
import { anId } from '../support/http-client.ts';
import { startReplica } from '../support/replica.ts';

if (process.argv.length > 2) {
  process.stderr.write('npm run stress takes no arguments; STRESS_ATTEMPTS=1000 STRESS_LIMITS=1,5 make it smaller\n');
  process.exit(2);
}
const attempts = Number(process.env['STRESS_ATTEMPTS'] ?? 100_000);
const limits = (process.env['STRESS_LIMITS'] ?? '1,5,50').split(',').map(Number);
const clients = 64;

const dataDir = await mkdtemp(join(tmpdir(), 'signalbox-stress-'));
const server = await openEmbeddedServer({ dataDir, log: (message) => console.log(message) });
let violated = false;
try {
  const env = { LOG_LEVEL: 'warn' };
  await using a = await startReplica({ databaseUrl: server.url, env });
  await using b = await startReplica({ databaseUrl: server.url, env });
  for (const limit of limits) violated = !(await holds(limit, [a.url, b.url])) || violated;
  await Promise.all([a.terminate(), b.terminate()]);
} finally {
  await server.leave();
  await rm(dataDir, { recursive: true, force: true });
}
process.exitCode = violated ? 1 : 0;

/** One limit: the load, then the verdict from the history by database time. */
async function holds(limit: number, urls: readonly [string, string]): Promise<boolean> {
  const database = new pg.Client({ connectionString: server.url });
  await database.connect();
  try {
    const queue = anId('stress');
    await fetch(`${urls[0]}/v1/queues/${queue}`, {
      method: 'PUT',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ concurrency_limit: limit }),
    });
    const abandonEvery = Math.ceil(attempts / (4 * limit));
    const load = await runLoad({ urls, queue, clients, attempts, abandonEvery });
    const grants = await readGrants(database, queue);
    const violations = [...load.unexpected, ...findViolations(grants, { limit, seen: load.seen })];
    const believed = mostAtOnce(load.beliefs);
    if (believed > limit) violations.push(`${believed} clients believed to hold at once`);
    const { rows } = await database.query<{ waiting: number }>(
      'select count(*)::int as waiting from signalbox.waiting where queue = $1',
      [queue],
    );
    if (rows[0]?.waiting !== 0) violations.push(`${String(rows[0]?.waiting)} claims are left waiting`);
    const perSecond = (count: number) => Math.round((count / load.durationMs) * 1000);
    console.log(
      `limit ${limit}: ${attempts} attempts of ${clients} clients in ${(load.durationMs / 1000).toFixed(1)} s, ` +
        `${perSecond(load.requests)} requests/s, ${perSecond(load.granted)} grants/s; ` +
        `${load.granted} granted, ${load.busy} busy, ${load.abandoned} never released`,
    );
    for (const violation of violations.slice(0, 20)) console.log(`  VIOLATED: ${violation}`);
    if (violations.length === 0) console.log(`  holds: never more than ${limit}, tokens only grew, no grant lost`);
    return violations.length === 0;
  } finally {
    await database.end();
  }
}
