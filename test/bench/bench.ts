/**
 * `npm run bench -- [--quick] [--json FILE] [--only REGEX]`: what a grant, a hand-off, a renewal and a waiter cost, beside
 * other ways to do it on this machine and this PostgreSQL, interleaved round by round. Medians with spread; compare
 * ratios, not rates: a rate is this machine's on this day. `--quick` uses smaller tables and ends within 8 minutes;
 * `--only` runs the measures whose name matches.
 */
import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { describeMachine } from './machine.ts';
import { allMeasures } from './measures/index.ts';
import { goalsOf, ratiosOf } from './ratios.ts';
import { Results } from './results.ts';
import { type Extent, type Measure, Rig } from './rig.ts';

const { values: options } = parseArgs({
  options: { quick: { type: 'boolean' }, json: { type: 'string' }, only: { type: 'string' } },
});
const isQuick = options.quick === true;
const extent: Extent = isQuick ? { isQuick, rounds: 3, seconds: 1.5 } : { isQuick, rounds: 7, seconds: 5 };
const only = new RegExp(options.only ?? '');

const results = new Results();
const rig = await Rig.open(extent, results);
const interrupted = new AbortController();
let scope = new AsyncDisposableStack();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    interrupted.abort();
    rig.say(`${signal}: cleaning up`);
    void scope
      .disposeAsync()
      .catch((error: unknown) => rig.say(String(error)))
      .then(() => rig[Symbol.asyncDispose]())
      .finally(() => process.exit(130));
  });
}

async function run(measure: Measure): Promise<void> {
  const startedAtMs = performance.now();
  rig.say(`${measure.name} ...`);
  scope = new AsyncDisposableStack();
  try {
    await measure.run(rig, scope);
  } catch (error) {
    // One measure that cannot be made leaves its figures out, and the others stand.
    if (!interrupted.signal.aborted) rig.say(`  ${measure.name} failed: ${String(error)}`);
  }
  if (interrupted.signal.aborted) return new Promise(() => undefined);
  await scope.disposeAsync().catch((error: unknown) => rig.say(`  ${String(error)}`));
  rig.say(`  ${((performance.now() - startedAtMs) / 1000).toFixed(0)} s`);
}

try {
  const machine = describeMachine(rig.dataDir, await rig.describePostgres());
  console.log(machine);
  for (const measure of allMeasures.filter(({ name }) => only.test(name))) await run(measure);
  const list = results.list();
  const ratios = ratiosOf(list);
  const goals = goalsOf(ratios);
  console.table(list);
  console.log('ratios:', ratios);
  console.table(goals);
  if (options.json !== undefined) {
    const report = { machine, is_quick: isQuick, results: list, ratios, goals };
    await writeFile(options.json, `${JSON.stringify(report, null, 2)}\n`);
  }
} finally {
  if (!interrupted.signal.aborted) await rig[Symbol.asyncDispose]();
}
