import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { type MergeQueueId, type MergeQueueSettings, mergeQueueId } from '../protocol/merge-queue.ts';
import { SettingsError } from './settings.ts';
import { type Problem, readYaml, valueAt } from './yaml-file.ts';

/** A merge queue of the file, with all its settings: what the file does not say is as the defaults are. */
export interface ConfiguredMergeQueue {
  readonly id: MergeQueueId;
  readonly settings: MergeQueueSettings;
}

export interface MergeQueueFileOptions {
  /** For `${VAR}`. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly defaults: MergeQueueSettings;
}

const weekSeconds = 604_800;
const monthSeconds = 2_592_000;

const text = z.string({
  error: ({ input }) => (input === undefined ? 'is missing' : 'must be one value, not a list or a map'),
});

function count(min: number, max: number) {
  const range = `must be a whole number from ${min} to ${max}`;
  return text
    .regex(/^\d{1,9}$/, range)
    .transform(Number)
    .refine((value) => value >= min && value <= max, range)
    .optional();
}

function seconds(min: number, max: number) {
  return count(min, max).transform((value) => (value === undefined ? undefined : value * 1000));
}

const flag = z
  .enum(['true', 'false'], 'must be true or false')
  .transform((value) => value === 'true')
  .optional();

/** The original's keys, then ours. All values are texts: `base_ref: 1.10` is a name and no number. */
const Repository = z.strictObject(
  {
    owner: text,
    name: text,
    base_ref: text,
    stabilize_duration_seconds: seconds(0, weekSeconds),
    ttl_seconds: seconds(1, weekSeconds),
    expected_request_count: count(0, 10_000),
    delay_lease_assignment_by: count(0, 10_000),
    hold_ttl_seconds: seconds(1, monthSeconds),
    success_completes: z.enum(['all', 'contained'], 'must be all or contained').optional(),
    require_token: flag,
    refused_acquire_updates: flag,
  },
  'must have maps of owner, name and base_ref as entries',
);

const unusableName =
  'owner, name and base_ref may have the characters A-Z a-z 0-9 . _ : @ - (base_ref also slashes), together 186 at most';
const noUsers =
  'has users with passwords: they are not taken from a file. Make tokens, `signalbox token create --name <who> --scope use ' +
  '--queue-prefix merge-queue/<owner>/`, and let clients send one as the password of Basic auth, with any user name; ' +
  'then remove this part of the file';

const File = z.strictObject(
  {
    repositories: z
      .array(Repository, { error: ({ input }) => (input === undefined ? 'is missing' : 'must be a list') })
      .max(1000, 'may have 1000 entries at most'),
    auth: z.never(noUsers).optional(),
  },
  'must be a map that has `repositories`',
);

/**
 * Reads the merge queues of mq-lease-service's configuration file. Throws `SettingsError` with every problem, each with
 * its line. An empty value counts as absent.
 */
export function readMergeQueueFile(path: string, options: MergeQueueFileOptions): readonly ConfiguredMergeQueue[] {
  const place = `MERGE_QUEUE_CONFIG_FILE: ${path}`;
  let content: string;
  try {
    content = readFileSync(path, 'utf8');
  } catch (error) {
    throw new SettingsError([`${place}: cannot be read: ${error instanceof Error ? error.message : String(error)}`]);
  }
  const { queues, problems } = parseMergeQueueFile(content, options);
  if (problems.length > 0) {
    const inOrder = problems.toSorted((a, b) => a.line - b.line);
    throw new SettingsError(inOrder.map(({ line, text: what }) => `${place}, line ${line}: ${what}`));
  }
  return queues;
}

function parseMergeQueueFile(
  content: string,
  { environment, defaults }: MergeQueueFileOptions,
): { readonly queues: readonly ConfiguredMergeQueue[]; readonly problems: readonly Problem[] } {
  const read = readYaml(content, environment);
  const { lineOf, isUnfilled } = read;
  const problems = [...read.problems];
  if (read.tree === undefined) return { queues: [], problems };
  const tree = withoutEmpty(read.tree);
  const { data, error } = File.safeParse(tree);
  for (const issue of error?.issues ?? []) {
    if (issue.code === 'unrecognized_keys') {
      for (const key of issue.keys.filter((name) => !isUnfilled(name)))
        problems.push({ line: lineOf([...issue.path, key]), text: `${key}: there is no such key` });
    } else if (!isUnfilled(valueAt(tree, issue.path))) {
      const name = issue.path.filter((part) => typeof part === 'string').at(-1);
      problems.push({ line: lineOf(issue.path), text: `${name ?? 'the file'} ${issue.message}` });
    }
  }

  problems.push(...problemsOfNames(tree, { lineOf, isUnfilled }));
  if (problems.length > 0 || data === undefined) return { queues: [], problems };
  const queues = data.repositories.flatMap((repository) => {
    const id = mergeQueueId(repository.owner, repository.name, repository.base_ref);
    return id === undefined ? [] : [{ id, settings: settingsOf(repository, defaults) }];
  });
  return { queues, problems };
}

interface FileLooks {
  readonly lineOf: (path: readonly PropertyKey[]) => number;
  /** A text in which a variable is left. */
  readonly isUnfilled: (value: unknown) => boolean;
}

/** Entries whose names no merge queue can have, and those that are there already; whatever else is wrong with them. */
function problemsOfNames(tree: unknown, { lineOf, isUnfilled }: FileLooks): readonly Problem[] {
  const repositories = valueAt(tree, ['repositories']);
  if (!Array.isArray(repositories)) return [];
  const firstLine = new Map<string, number>();
  return repositories.flatMap((_, index): readonly Problem[] => {
    const parts = ['owner', 'name', 'base_ref'].map((key) => valueAt(tree, ['repositories', index, key]));
    const [owner, name, baseRef] = parts;
    if (typeof owner !== 'string' || typeof name !== 'string' || typeof baseRef !== 'string') return [];
    if (parts.some(isUnfilled)) return [];
    const line = lineOf(['repositories', index]);
    const id = mergeQueueId(owner, name, baseRef);
    if (id === undefined) return [{ line, text: unusableName }];
    const known = firstLine.get(id.name);
    if (known !== undefined) return [{ line, text: `${owner}/${name} ${baseRef} is there already, in line ${known}` }];
    firstLine.set(id.name, line);
    return [];
  });
}

function settingsOf(repository: z.infer<typeof Repository>, defaults: MergeQueueSettings): MergeQueueSettings {
  return {
    stabilisation_ms: repository.stabilize_duration_seconds ?? defaults.stabilisation_ms,
    ttl_ms: repository.ttl_seconds ?? defaults.ttl_ms,
    expected_count: repository.expected_request_count ?? defaults.expected_count,
    delay_count: repository.delay_lease_assignment_by ?? defaults.delay_count,
    hold_ttl_ms: repository.hold_ttl_seconds ?? defaults.hold_ttl_ms,
    success_completes: repository.success_completes ?? defaults.success_completes,
    require_token: repository.require_token ?? defaults.require_token,
    refused_acquire_updates: repository.refused_acquire_updates ?? defaults.refused_acquire_updates,
  };
}

/** The tree without keys that have no value. */
function withoutEmpty(tree: unknown): unknown {
  if (Array.isArray(tree)) return tree.map(withoutEmpty);
  if (typeof tree !== 'object' || tree === null) return tree;
  return Object.fromEntries(
    Object.entries(tree)
      .filter(([, value]) => value !== '')
      .map(([key, value]) => [key, withoutEmpty(value)]),
  );
}
