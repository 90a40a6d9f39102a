/**
 * `npm run bench [-- --quick] [-- --json FILE]`: uncontended acquire + release, and the whole life of runs (enqueue, take
 * by prefix, release), over HTTP, one client program, every contender on this machine and this PostgreSQL, interleaved round by round. Medians with spread; compare ratios, not
 * rates: a rate is this machine's on this day.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, cpus, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { openEmbeddedServer } from '../../src/store/embedded/index.ts';
import { pairLoad } from './pair-load.ts';
import { runLoad } from './run-load.ts';

const { values: options } = parseArgs({ options: { quick: { type: 'boolean' }, json: { type: 'string' } } });
const rounds = options.quick === true ? 3 : 7;
const seconds = options.quick === true ? 2 : 5;
const root = join(import.meta.dirname, '../..');

async function startServer(
  args: string[],
  env: NodeJS.ProcessEnv,
): Promise<{ url: string; stop: () => Promise<void> }> {
  const child = spawn(process.execPath, args, {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  for await (const line of createInterface({ input: child.stdout })) {
    const port = /listens on (?:http:\/\/127\.0\.0\.1:)?(\d+)/.exec(line)?.[1];
    if (port === undefined) continue;
    child.stdout.resume();
    const stop = async () => {
      child.kill('SIGTERM');
      await once(child, 'exit');
    };
    return { url: `http://127.0.0.1:${port}`, stop };
  }
  throw new Error(`${args.join(' ')} did not start`);
}

const dataDir = await mkdtemp(join(tmpdir(), 'signalbox-bench-'));
const postgres = await openEmbeddedServer({ dataDir, log: () => undefined });
const contenderFile = join(import.meta.dirname, 'contender-servers.ts');
const servers = {
  fastify_post: await startServer([contenderFile, 'fastify-post'], {}),
  one_update: await startServer([contenderFile, 'one-update', postgres.url], {}),
  signalbox_single: await startServer([join(root, 'src/main.ts'), 'serve'], {
    DATABASE_URL: postgres.url,
    PORT: '0',
    LOG_LEVEL: 'warn',
  }),
};

interface Result {
  readonly measure: string;
  readonly contender: string;
  readonly unit: string;
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly runs: number;
}

const rates = new Map<string, number[]>();
for (let round = -1; round < rounds; round++) {
  for (const clients of [1, 64]) {
    for (const [contender, { url }] of Object.entries(servers)) {
      const { pairsPerSecond } = await pairLoad(url, clients, seconds);
      const key = `pairs_${clients}_clients ${contender}`;
      // Round -1 warms up: it makes the queues and fills the caches.
      if (round >= 0) rates.set(key, [...(rates.get(key) ?? []), pairsPerSecond]);
    }
    const runsPerSecond = await runLoad(servers.signalbox_single.url, clients, seconds);
    const key = `runs_${clients}_clients signalbox_single`;
    if (round >= 0) rates.set(key, [...(rates.get(key) ?? []), runsPerSecond]);
  }
}
for (const { stop } of Object.values(servers)) await stop();
await postgres.leave();
await rm(dataDir, { recursive: true, force: true });

const results: Result[] = [...rates].map(([key, runs]) => {
  const [measure = '', contender = ''] = key.split(' ');
  const sorted = runs.toSorted((a, b) => a - b);
  const round = (value: number | undefined) => Math.round(value ?? NaN);
  return {
    measure,
    contender,
    unit: measure.startsWith('runs') ? 'runs/s' : 'pairs/s',
    median: round(sorted[sorted.length >> 1]),
    min: round(sorted[0]),
    max: round(sorted.at(-1)),
    runs: runs.length,
  };
});
const median = (measure: string, contender: string) =>
  results.find((result) => result.measure === measure && result.contender === contender)?.median ?? NaN;
const ratio = (other: string) =>
  Number((median('pairs_64_clients', 'signalbox_single') / median('pairs_64_clients', other)).toFixed(2));
const ratios = { single_vs_fastify_post: ratio('fastify_post'), single_vs_one_update: ratio('one_update') };
const machine = {
  cores: availableParallelism(),
  processor: cpus()[0]?.model ?? 'unknown',
  memory_gib: Math.round(totalmem() / 2 ** 30),
  node: process.version,
};

console.log(machine);
console.table(results);
console.log('ratios at 64 clients:', ratios);
if (options.json !== undefined) await writeFile(options.json, JSON.stringify({ machine, results, ratios }, null, 2));
