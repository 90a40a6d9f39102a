import type { z } from 'zod';
import { QueueName } from '../protocol/ids.ts';
import { issueText } from '../protocol/issue-text.ts';
import {
  type MergeQueueId,
  MergeQueueSettings,
  type MergeQueueSettingsChange,
  mergeQueueId,
} from '../protocol/merge-queue.ts';
import { FileLabel, type PatternSettings, QueuePattern } from '../protocol/patterns.ts';
import { newQueueDefaultTtlMs, newQueueMaxTtlMs, QueueSettings } from '../protocol/queues.ts';
import { type Problem, type YamlFile, readYaml } from './yaml-file.ts';

/** What a file says there shall be: settings in the words of the HTTP interface. */
export interface QueuesFile {
  /** How the file calls itself. */
  readonly label: string | undefined;
  readonly queues: ReadonlyMap<QueueName, PatternSettings>;
  readonly patterns: ReadonlyMap<QueuePattern, PatternSettings>;
  readonly mergeQueues: ReadonlyMap<string, { readonly id: MergeQueueId; readonly change: MergeQueueSettingsChange }>;
  /** The line a part of the file is written in. */
  readonly lineOf: (path: readonly PropertyKey[]) => number;
}

/** Every problem of a file at once, one line each, in the order of the file. Nothing of it was applied. */
export class RefusedFileError extends Error {
  readonly problems: readonly string[];

  constructor(path: string, problems: readonly Problem[]) {
    const lines = problems
      .toSorted((a, b) => a.line - b.line)
      .map(({ line, text }) => `${path}, line ${line}: ${text}`);
    super(`the file is refused as a whole:\n${lines.map((line) => `  ${line}`).join('\n')}`);
    this.name = 'RefusedFileError';
    this.problems = lines;
  }
}

const entriesMax = 10_000;

const newQueueTtlMs = { default_ttl_ms: newQueueDefaultTtlMs, max_ttl_ms: newQueueMaxTtlMs };

/**
 * Reads a file of queues, patterns and merge queues, with `${VAR}` filled in. Throws `RefusedFileError`. A key without a
 * value below a name is refused: null is what has to be written for none.
 */
export function parseQueuesFile(
  path: string,
  content: string,
  environment: Readonly<Record<string, string | undefined>>,
): QueuesFile {
  const file = readYaml(content, environment);
  const problems: Problem[] = [...file.problems];
  const tree = asMap(file.tree ?? {});
  if (tree === undefined) throw new RefusedFileError(path, [...problems, { line: 1, text: 'must be a map' }]);
  const add = (at: readonly PropertyKey[], text: string) => problems.push({ line: file.lineOf(at), text });
  const known = ['label', 'queues', 'patterns', 'merge_queues'];
  for (const key of Object.keys(tree))
    if (!known.includes(key) && !file.isUnfilled(key)) add([key], `${key}: there is no such key`);
  const { label } = tree;
  if (label !== undefined && !file.isUnfilled(label) && !FileLabel.safeParse(label).success)
    add(['label'], 'label must be one line of 1 to 200 characters');
  const sections = { file, tree, add };

  const queues = new Map<QueueName, PatternSettings>();
  for (const { name, settings } of entriesOf(sections, 'queues', QueueSettings.partial(), nameOf(QueueName)))
    queues.set(name, settings);
  const patterns = new Map<QueuePattern, PatternSettings>();
  for (const { name, settings } of entriesOf(sections, 'patterns', QueueSettings.partial(), nameOf(QueuePattern)))
    patterns.set(name, settings);
  if (patterns.size > 1000) add(['patterns'], 'there may be 1000 patterns at most');
  const mergeQueues = new Map<string, { id: MergeQueueId; change: MergeQueueSettingsChange }>();
  for (const entry of entriesOf(sections, 'merge_queues', MergeQueueSettings.partial(), mergeQueueOf))
    mergeQueues.set(entry.name.text, { id: entry.name.id, change: entry.settings });

  for (const [section, entries] of [
    ['queues', queues],
    ['patterns', patterns],
  ] as const) {
    for (const [name, settings] of entries) {
      // A pattern is a whole document: what it leaves out is the default. Of a queue that may come from a pattern of the service.
      const { default_ttl_ms: ttl, max_ttl_ms: max } =
        section === 'patterns' ? { ...newQueueTtlMs, ...settings } : settings;
      if (ttl !== undefined && max !== undefined && ttl > max) {
        const at = settings.default_ttl_ms === undefined ? 'max_ttl_ms' : 'default_ttl_ms';
        add([section, name, at], `${name}: default_ttl_ms ${ttl} is longer than max_ttl_ms ${max}`);
      }
    }
  }
  if (problems.length > 0) throw new RefusedFileError(path, problems);
  return { label: label as string | undefined, queues, patterns, mergeQueues, lineOf: file.lineOf };
}

interface Sections {
  readonly file: YamlFile;
  readonly tree: Readonly<Record<string, unknown>>;
  readonly add: (at: readonly PropertyKey[], text: string) => void;
}

/** A name as it may be used, or what is wrong with it. */
type NameReader<Name> = (text: string) => { readonly name: Name } | { readonly problem: string };

function nameOf<Schema extends z.ZodType>(schema: Schema): NameReader<z.output<Schema>> {
  return (text) => {
    const { data, error } = schema.safeParse(text);
    return error === undefined ? { name: data } : { problem: messageOf(error) };
  };
}

function mergeQueueOf(text: string): ReturnType<NameReader<{ readonly text: string; readonly id: MergeQueueId }>> {
  const [owner = '', repo = '', ...rest] = text.split('/');
  const id = mergeQueueId(owner, repo, rest.join('/'));
  return id === undefined ? { problem: 'must be owner/repo/base_ref' } : { name: { text, id } };
}

/** The entries of one part of the file whose name and settings are usable; all that is wrong with the others is told. */
function entriesOf<Settings extends z.ZodType<object>, Name>(
  { file, tree, add }: Sections,
  section: string,
  schema: Settings,
  readName: NameReader<Name>,
): readonly { readonly name: Name; readonly settings: z.output<Settings> }[] {
  const map = asMap(tree[section] ?? {});
  if (map === undefined) {
    if (!file.isUnfilled(tree[section])) add([section], `${section} must be a map of names`);
    return [];
  }
  const entries = Object.entries(map);
  if (entries.length > entriesMax) add([section], `${section} may have ${entriesMax} entries at most`);
  return entries.flatMap(([name, written]) => {
    const at = [section, name];
    // The variable in it is told already.
    if (file.isUnfilled(name)) return [];
    const read = readName(name);
    if ('problem' in read) add(at, `${name}: ${read.problem}`);
    const settings = asMap(written);
    if (settings === undefined) {
      if (!file.isUnfilled(written)) add(at, `${name}: must be a map of settings`);
      return [];
    }
    const values: Record<string, unknown> = {};
    let isWhole = true;
    for (const [key, value] of Object.entries(settings)) {
      if (value === '') add([...at, key], `${name}: ${key} has no value; write null for none`);
      else if (!file.isUnfilled(value) && !file.isUnfilled(key)) values[key] = valueOf(value);
      if (!(key in values)) isWhole = false;
    }
    const parsed = schema.safeParse(values, { error: issueText });
    for (const issue of parsed.error?.issues ?? []) {
      const keys = issue.code === 'unrecognized_keys' ? issue.keys : [issue.path.join('.')];
      for (const key of keys)
        add(
          [...at, key],
          `${name}: ${key}: ${issue.code === 'unrecognized_keys' ? 'there is no such setting' : issue.message}`,
        );
    }
    return parsed.success && isWhole && 'name' in read ? [{ name: read.name, settings: parsed.data }] : [];
  });
}

/** Nothing at all is an empty map: `queues:` with nothing below, a queue without settings. */
function asMap(tree: unknown): Readonly<Record<string, unknown>> | undefined {
  if (tree === '') return {};
  return typeof tree === 'object' && tree !== null && !Array.isArray(tree)
    ? (tree as Record<string, unknown>)
    : undefined;
}

/** As YAML's core schema reads it. */
function valueOf(text: unknown): unknown {
  if (typeof text !== 'string') return text;
  if (text === 'null' || text === '~') return null;
  if (text === 'true' || text === 'false') return text === 'true';
  return /^[-+]?\d{1,15}$/.test(text) ? Number(text) : text;
}

function messageOf(error: z.ZodError): string {
  return error.issues.map(({ message }) => message).join('; ');
}
