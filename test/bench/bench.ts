/**
 * `npm run bench -- [--quick] [--json FILE] [--only REGEX]`: what a grant, a hand-off, a renewal and a waiter cost, beside
 * other ways to do it on this machine and this PostgreSQL, interleaved round by round. Medians with spread; compare
 * ratios, not rates: a rate is this machine's on this day. `--quick` uses smaller tables and ends within 8 minutes;
 * `--only` runs the measures whose name matches.
 */
import { writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { describeMachine } from './machine.ts';
import { allMeasures } from './measures/index.ts';
import { ownChildren } from './process-cpu.ts';
import { goalsOf, ratiosOf } from './ratios.ts';
import { formatReport } from './report.ts';
import { Results } from './results.ts';
import { type Extent, type Measure, Rig } from './rig.ts';

const usage = `npm run bench -- [--quick] [--json FILE] [--only REGEX]
measures: ${allMeasures.map(({ name }) => name).join(', ')}`;

function refuse(message: string): never {
  process.stderr.write(`${message}\n${usage}\n`);
  process.exit(2);
}

function readOptions() {
  try {
    return parseArgs({
      options: {
        quick: { type: 'boolean' },
        json: { type: 'string' },
        only: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
    }).values;
  } catch (error) {
    return refuse((error as Error).message);
  }
}

const options = readOptions();
if (options.help === true) {
  process.stdout.write(`${usage}\n`);
  process.exit(0);
}
const isQuick = options.quick === true;
const extent: Extent = isQuick ? { isQuick, rounds: 3, seconds: 1.5 } : { isQuick, rounds: 7, seconds: 5 };
/** Of all measures, and of one: a machine that is too slow for its bench leaves figures out, it does not run for hours. */
const limitMs = isQuick ? { all: 460_000, one: 150_000 } : { all: 5_400_000, one: 1_800_000 };
const only = new RegExp(options.only ?? '');
const measures = allMeasures.filter(({ name }) => only.test(name));
if (measures.length === 0) refuse(`no measure matches ${only.source}`);
if (options.json !== undefined) {
  // Told now, not when all is measured.
  await writeFile(options.json, '', { flag: 'a' }).catch((error: unknown) => refuse(String(error)));
}

const results = new Results();
const opening = Rig.open(extent, results);
let scope = new AsyncDisposableStack();
const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    interrupted.abort();
    process.stderr.write(`${signal}: cleaning up\n`);
    // What is being measured fails now that its servers go, each part in its own way; that is no news.
    for (const event of ['uncaughtException', 'unhandledRejection'] as const) process.on(event, () => undefined);
    void cleanUp().finally(() => process.exit(130));
  });
}

async function cleanUp(): Promise<void> {
  const disposed = scope.disposeAsync().catch((error: unknown) => process.stderr.write(`${String(error)}\n`));
  // A peer that is stopped in the middle of its work may never say that it has.
  await Promise.race([disposed, sleep(15_000, undefined, { ref: false })]);
  // What was just being started, and is in no scope yet.
  for (const pid of ownChildren()) killIfThere(pid);
  await (await opening)[Symbol.asyncDispose]();
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended meanwhile.
  }
}

async function run(rig: Rig, measure: Measure, timeoutMs: number): Promise<void> {
  if (timeoutMs < 1000) {
    rig.say(`${measure.name} is left out: there is no time for it`);
    return;
  }
  rig.say(`${measure.name} ...`);
  const startedAtMs = performance.now();
  scope = new AsyncDisposableStack();
  let timer: NodeJS.Timeout | undefined;
  try {
    const timeout = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`not done after ${Math.round(timeoutMs / 1000)} s`)), timeoutMs);
    });
    await Promise.race([measure.run(rig, scope), timeout]);
  } catch (error) {
    // One measure that cannot be made leaves its figures out, and the others stand.
    if (!interrupted.signal.aborted) rig.say(`  ${measure.name} failed: ${String(error)}`);
  } finally {
    clearTimeout(timer);
  }
  // Whoever interrupted it cleans up and ends the process.
  if (interrupted.signal.aborted) await new Promise(() => undefined);
  await scope.disposeAsync().catch((error: unknown) => rig.say(`  ${String(error)}`));
  rig.say(`  ${((performance.now() - startedAtMs) / 1000).toFixed(0)} s`);
}

const rig = await opening;
try {
  const endAtMs = performance.now() + limitMs.all;
  const machine = describeMachine(rig.dataDir, await rig.describePostgres());
  console.log(machine);
  for (const measure of measures) {
    await run(rig, measure, Math.min(limitMs.one, endAtMs - performance.now()));
  }
  const list = results.list();
  const ratios = ratiosOf(list);
  const goals = goalsOf(ratios, { isQuick });
  console.log(formatReport(list, ratios, goals));
  if (isQuick) console.log('--quick: tables are a tenth to a twentieth of the sizes that the names of ratios tell.');
  if (options.json !== undefined) {
    const report = { machine, is_quick: isQuick, results: list, ratios, goals };
    await writeFile(options.json, `${JSON.stringify(report, null, 2)}\n`);
  }
} finally {
  if (!interrupted.signal.aborted) await cleanUp();
}
