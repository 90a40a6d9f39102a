import { isDeepStrictEqual } from 'node:util';
import type { QueueName } from '../protocol/ids.ts';
import { mergeQueueId, type MergeQueueDetail } from '../protocol/merge-queue.ts';
import type { AppliedFile, MadeByFile, PatternSettings, QueuePattern } from '../protocol/patterns.ts';
import type { QueueDetail, QueueSettingsChange } from '../protocol/queues.ts';
import type { ApplyTarget } from './apply-target.ts';
import { type QueuesFile, RefusedFileError } from './queues-file.ts';
import type { Problem } from './yaml-file.ts';

/** One thing to do. `sign`: + it is made, ~ it is changed, - it is removed. */
export interface Step {
  readonly sign: '+' | '~' | '-';
  readonly what: 'queue' | 'pattern' | 'merge queue';
  readonly name: string;
  readonly differences: readonly Difference[];
  readonly run: (target: ApplyTarget) => Promise<unknown>;
}

/** A setting that is not as the file says. Without `from` it had no value; without `to` it is given back, or set no longer. */
export interface Difference {
  readonly setting: string;
  readonly from?: unknown;
  readonly to?: unknown;
  /** For people. */
  readonly text: string;
}

/** What is to be done, in this order, so that the service is as the file says; and what to remember of it. */
export interface Plan {
  readonly label: string;
  readonly steps: readonly Step[];
  readonly before: AppliedFile;
  /** What an apply of this label may take away after this one. */
  readonly made: MadeByFile;
}

export interface PlanOptions {
  /** For messages. */
  readonly path: string;
  readonly label: string;
  /** Takes away what an earlier apply of the label made and the file no longer has. */
  readonly prune: boolean;
}

/**
 * Compares the file with the service, and writes nothing. Throws `RefusedFileError` with every contradiction that shows only
 * there. What a queue has for its own comes first, then patterns, then what is given back to them: no queue has in between
 * more than either says.
 */
export async function planApply(file: QueuesFile, target: ApplyTarget, options: PlanOptions): Promise<Plan> {
  const before = await target.appliedFile(options.label);
  const problems: Problem[] = [];
  const sets: Step[] = [];
  const gives: Step[] = [];
  for (const [name, settings] of file.queues) {
    const detail = await target.getQueue(name);
    const problem = contradiction(file, name, settings, detail);
    if (problem !== undefined) problems.push(problem);
    const had = before.made.queues[name] ?? [];
    const { set, give } = queueSteps(name, settings, detail, options.prune ? had : []);
    sets.push(...set);
    gives.push(...give);
  }
  if (problems.length > 0) throw new RefusedFileError(options.path, problems);
  const patterns: Step[] = [];
  for (const [name, settings] of file.patterns) {
    const old = (await target.getPattern(name))?.settings;
    if (old !== undefined && isDeepStrictEqual(old, settings)) continue;
    patterns.push({
      sign: old === undefined ? '+' : '~',
      what: 'pattern',
      name,
      differences: differencesOf(old ?? {}, settings, { isWhole: true }),
      run: (service) => service.setPattern(name, settings),
    });
  }
  const mergeQueues: Step[] = [];
  for (const [name, { id, change }] of file.mergeQueues) {
    const old: Partial<MergeQueueDetail> | undefined = await target.getMergeQueue(id);
    const differences = differencesOf(old ?? {}, change, { isWhole: false });
    if (old?.auto_created === false && differences.length === 0) continue;
    mergeQueues.push({
      sign: old === undefined ? '+' : '~',
      what: 'merge queue',
      name,
      differences,
      run: (service) => service.configureMergeQueue(id, change),
    });
  }
  const removals = options.prune ? await removalsOf(file, target, before.made) : [];
  return {
    label: options.label,
    steps: [
      ...sets,
      ...patterns,
      ...removals.filter(({ what }) => what === 'pattern'),
      ...gives,
      ...mergeQueues,
      ...removals.filter(({ what }) => what !== 'pattern'),
    ],
    before,
    made: madeBy(file, options.prune ? undefined : before.made),
  };
}

/** What the file makes, and what `also` says; in one order, so that it can be compared. */
export function madeBy(file: QueuesFile, also: MadeByFile | undefined): MadeByFile {
  const queues: Record<string, string[]> = {};
  const add = (name: string, settings: readonly string[]) => {
    queues[name] = [...new Set([...(queues[name] ?? []), ...settings])].sort();
  };
  for (const [name, settings] of file.queues) add(name, Object.keys(settings));
  for (const [name, settings] of Object.entries(also?.queues ?? {})) add(name, settings);
  const all = (names: Iterable<string>, more: readonly string[] = []) => [...new Set([...names, ...more])].sort();
  return {
    queues: Object.fromEntries(Object.entries(queues).sort(([a], [b]) => (a < b ? -1 : 1))),
    patterns: all(file.patterns.keys(), also?.patterns),
    merge_queues: all(file.mergeQueues.keys(), also?.merge_queues),
  };
}

function queueSteps(
  name: QueueName,
  settings: PatternSettings,
  detail: QueueDetail | undefined,
  had: readonly string[],
): { readonly set: readonly Step[]; readonly give: readonly Step[] } {
  const change: Record<string, unknown> = {};
  const differences: Difference[] = [];
  for (const [key, value] of Object.entries(settings)) {
    const old = detail?.[key as keyof QueueDetail];
    const source = detail?.sources[key] ?? 'default';
    if (detail !== undefined && source === 'local' && old === value) continue;
    change[key] = value;
    if (detail === undefined) differences.push(setTo(key, value));
    else if (old !== value) differences.push(changedTo(key, old, value));
    else differences.push({ ...changedTo(key, old, value), text: `${key} ${text(value)} its own (${source})` });
  }
  const isNamed = Object.keys(change).length > 0 || detail === undefined || detail.auto_created;
  const back = had.filter((key) => !(key in settings) && detail?.sources[key] === 'local').sort();
  const step = (of: Omit<Step, 'what' | 'name' | 'run'>, wanted: QueueSettingsChange): Step => ({
    ...of,
    what: 'queue',
    name,
    run: (service) => service.configureQueue(name, wanted),
  });
  return {
    set: isNamed ? [step({ sign: detail === undefined ? '+' : '~', differences }, change)] : [],
    give:
      back.length === 0
        ? []
        : [
            step(
              {
                sign: '~',
                differences: back.map((key) => ({
                  setting: key,
                  from: detail?.[key as keyof QueueDetail],
                  text: `${key} inherited`,
                })),
              },
              { inherit: back as NonNullable<QueueSettingsChange['inherit']> },
            ),
          ],
  };
}

/** A default_ttl_ms and a max_ttl_ms that the service would refuse: one of the file, the other there. */
function contradiction(
  file: QueuesFile,
  name: QueueName,
  settings: PatternSettings,
  detail: QueueDetail | undefined,
): Problem | undefined {
  const firm = (key: 'default_ttl_ms' | 'max_ttl_ms', fallback: number): number | undefined => {
    const named = settings[key];
    if (named !== undefined) return named;
    if (detail !== undefined) return detail.sources[key]?.startsWith('pattern') === true ? undefined : detail[key];
    // One that may have a pattern is left to the service, which lets what a pattern says give way.
    return [...file.patterns.keys()].some((pattern) => name.startsWith(pattern.slice(0, -1))) ? undefined : fallback;
  };
  if (settings.default_ttl_ms === undefined && settings.max_ttl_ms === undefined) return undefined;
  const [ttl, max] = [firm('default_ttl_ms', 30_000), firm('max_ttl_ms', 300_000)];
  if (ttl === undefined || max === undefined || ttl <= max) return undefined;
  return {
    line: file.lineOf(['queues', name]),
    text: `${name}: default_ttl_ms ${ttl} is longer than max_ttl_ms ${max}`,
  };
}

async function removalsOf(file: QueuesFile, target: ApplyTarget, made: MadeByFile): Promise<readonly Step[]> {
  const steps: Step[] = [];
  const gone = { sign: '-', differences: [] } as const;
  for (const name of Object.keys(made.queues) as QueueName[])
    if (!file.queues.has(name) && (await target.getQueue(name)) !== undefined)
      steps.push({ ...gone, what: 'queue', name, run: (service) => service.deleteQueue(name) });
  for (const name of made.patterns as QueuePattern[])
    if (!file.patterns.has(name) && (await target.getPattern(name)) !== undefined)
      steps.push({ ...gone, what: 'pattern', name, run: (service) => service.deletePattern(name) });
  for (const name of made.merge_queues) {
    const [owner = '', repo = '', ...rest] = name.split('/');
    const id = mergeQueueId(owner, repo, rest.join('/'));
    if (!file.mergeQueues.has(name) && id !== undefined && (await target.getMergeQueue(id)) !== undefined)
      steps.push({ ...gone, what: 'merge queue', name, run: (service) => service.deleteMergeQueue(id) });
  }
  return steps;
}

function differencesOf(old: object, settings: object, { isWhole }: { isWhole: boolean }): readonly Difference[] {
  const was = old as Readonly<Record<string, unknown>>;
  const is = settings as Readonly<Record<string, unknown>>;
  const changed = Object.entries(is)
    .filter(([key, value]) => was[key] !== value)
    .map(([key, value]) => (key in was ? changedTo(key, was[key], value) : setTo(key, value)));
  const left = isWhole ? Object.keys(was).filter((key) => !(key in is)) : [];
  return [...changed, ...left.map((key) => ({ setting: key, from: was[key], text: `${key} no longer set` }))];
}

function setTo(setting: string, to: unknown): Difference {
  return { setting, to, text: `${setting} ${text(to)}` };
}

function changedTo(setting: string, from: unknown, to: unknown): Difference {
  return { setting, from, to, text: `${setting} ${text(from)} → ${text(to)}` };
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}
