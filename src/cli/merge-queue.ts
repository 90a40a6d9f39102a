import { type Command, InvalidArgumentError, Option } from 'commander';
import type { MergeQueueKey, SignalboxClient } from '../client/index.ts';
import {
  type MergeQueueDetail,
  type MergeQueueSettingsChange,
  mergeQueueId,
  mergeQueuePrefix,
  parseMergeQueueName,
} from '../protocol/merge-queue.ts';
import { wholeNumber } from './dead-letters.ts';
import { durationMs } from './duration.ts';
import { exitCode } from './exit-codes.ts';
import { mergeQueueName, mergeQueueText, mergeQueuesTable } from './merge-queue/text.ts';
import { firstOf, operatorCommand } from './operator-command.ts';
import type { Environment } from './program.ts';
import { type ServiceFlags, withServiceOptions } from './service-options.ts';

interface ListFlags extends ServiceFlags {
  readonly prefix?: string;
  readonly limit: number;
  readonly json?: true;
}
interface SetFlags extends ServiceFlags {
  readonly window?: number;
  readonly ttl?: number;
  readonly expected?: number;
  readonly delay?: number;
  readonly holdTtl?: number | 'default';
  readonly successCompletes?: 'all' | 'contained';
  readonly requireToken?: boolean;
  readonly refusedAcquireUpdates?: boolean;
  readonly ifVersion?: number;
  readonly json?: true;
}
interface DeleteFlags extends ServiceFlags {
  readonly force?: true;
  readonly json?: true;
}

const weekMs = 604_800_000;
const monthMs = 2_592_000_000;

/** Adds `merge-queue list`, `show`, `set`, `clear` and `delete`: clients of a running service. */
export function addMergeQueueCommands(program: Command, environment: Environment, done: (code: number) => void): void {
  const mergeQueue = program
    .command('merge-queue')
    .description('merge queue leases: look, set, and set free what is stuck');
  withServiceOptions(mergeQueue.command('list'))
    .description('show the merge queues: mode, holder, and how many builds wait')
    .option('--prefix <prefix>', 'only those whose owner/repo/base_ref begins so')
    .option('--limit <n>', 'so many at most', wholeNumber(1, 100_000), 1000)
    .option('--json', 'print one JSON document')
    .action(async (flags: ListFlags) => {
      done(await operatorCommand(flags, environment, (client) => list(client, flags)));
    });
  onOne(mergeQueue.command('show'))
    .description('show one merge queue: settings, holder, and the builds that wait, with reasons')
    .action(async (key: MergeQueueKey, flags: ListFlags) => {
      done(await operatorCommand(flags, environment, (client) => show(client, key, flags)));
    });
  settingOptions(onOne(mergeQueue.command('set')))
    .description('make a merge queue, or change its settings; what is not named stays as it is')
    .action(async (key: MergeQueueKey, flags: SetFlags) => {
      done(await operatorCommand(flags, environment, (client) => set(client, key, flags)));
    });
  onOne(mergeQueue.command('clear'))
    .description('forget all its builds, the holder too: the next ones start afresh')
    .action(async (key: MergeQueueKey, flags: ListFlags) => {
      done(await operatorCommand(flags, environment, (client) => clear(client, key, flags)));
    });
  onOne(mergeQueue.command('delete'))
    .description('delete a merge queue that has no builds')
    .option('--force', 'clear its builds first')
    .action(async (key: MergeQueueKey, flags: DeleteFlags) => {
      done(await operatorCommand(flags, environment, (client) => remove(client, key, flags)));
    });
}

function onOne(command: Command): Command {
  return withServiceOptions(command)
    .argument('<owner/repo/base_ref>', 'the base ref may have slashes', mergeQueueKey)
    .option('--json', 'print the answer as JSON');
}

function settingOptions(command: Command): Command {
  return command
    .option('--window <duration>', 'nobody gets the lease until nothing changed for so long', durationMs(0, weekMs))
    .option('--ttl <duration>', 'a waiting build not heard for longer is forgotten', durationMs(1, weekMs))
    .option('--expected <n>', 'so many builds end the wait early', wholeNumber(0, 10_000))
    .option('--delay <n>', 'how often a build that could have the lease is put off', wholeNumber(0, 10_000))
    .option('--hold-ttl <duration>', 'a holder not heard for longer loses the lease; or `default`', holdTtl)
    .addOption(
      new Option('--success-completes <who>', 'whom a success tells they are done').choices(['all', 'contained']),
    )
    .option('--require-token <bool>', 'a release must show the fencing token', flag)
    .option('--refused-acquire-updates <bool>', 'a refused acquire of the holder stores priority and ref', flag)
    .option(
      '--if-version <n>',
      'only if its settings are at this version; 0: only if there is none',
      wholeNumber(0, 1e9),
    );
}

/** For commander: `true` or `false`. */
export function flag(text: string): boolean {
  if (text !== 'true' && text !== 'false') throw new InvalidArgumentError('It must be true or false.');
  return text === 'true';
}

function holdTtl(text: string): number | 'default' {
  return text === 'default' ? text : durationMs(1, monthMs)(text);
}

/** owner/repo/base_ref; the name of views and events, with merge-queue/ in front, will do. */
function mergeQueueKey(text: string): MergeQueueKey {
  const [owner = '', repo = '', ...rest] = text.split('/');
  const id = parseMergeQueueName(text) ?? mergeQueueId(owner, repo, rest.join('/'));
  if (id === undefined)
    throw new InvalidArgumentError('It must be owner/repo/base_ref, of the characters A-Z a-z 0-9 . _ : / @ -.');
  return { owner: id.owner, repo: id.repo, base_ref: id.baseRef };
}

async function list(client: SignalboxClient, { prefix = '', limit, json }: ListFlags): Promise<number> {
  const begin = prefix.startsWith(mergeQueuePrefix) ? prefix : `${mergeQueuePrefix}${prefix}`;
  const { items, more } = await firstOf<MergeQueueDetail>(limit, async (cursor, size) => {
    const page = await client.listMergeQueues({ prefix: begin, cursor, limit: size });
    return { items: page.merge_queues, next: page.next_cursor };
  });
  console.log(json === true ? JSON.stringify({ merge_queues: items, more }) : mergeQueuesTable(items));
  if (more) console.error(`These are the first ${items.length}; --limit shows more.`);
  return exitCode.ok;
}

async function show(client: SignalboxClient, key: MergeQueueKey, { json }: ListFlags): Promise<number> {
  const queue = await client.getMergeQueue(key);
  console.log(json === true ? JSON.stringify(queue) : mergeQueueText(queue));
  return exitCode.ok;
}

async function set(client: SignalboxClient, key: MergeQueueKey, flags: SetFlags): Promise<number> {
  const change: MergeQueueSettingsChange = {
    stabilisation_ms: flags.window,
    ttl_ms: flags.ttl,
    expected_count: flags.expected,
    delay_count: flags.delay,
    hold_ttl_ms: flags.holdTtl === 'default' ? null : flags.holdTtl,
    success_completes: flags.successCompletes,
    require_token: flags.requireToken,
    refused_acquire_updates: flags.refusedAcquireUpdates,
  };
  const { ifVersion } = flags;
  const queue = await client.configureMergeQueue(key, change, ifVersion === undefined ? {} : { ifVersion });
  console.log(flags.json === true ? JSON.stringify(queue) : mergeQueueText(queue));
  return exitCode.ok;
}

/** One that nobody knows would be cleared too, as in the original; a name that was mistyped is told. */
async function clear(client: SignalboxClient, key: MergeQueueKey, { json }: ListFlags): Promise<number> {
  const before = await client.getMergeQueue(key);
  await client.clearMergeQueue(key);
  const { requests } = before;
  const count = `${requests.length} ${requests.length === 1 ? 'build' : 'builds'}`;
  console.log(json === true ? JSON.stringify({ cleared: requests }) : `cleared ${mergeQueueName(before)}: ${count}`);
  return exitCode.ok;
}

async function remove(client: SignalboxClient, key: MergeQueueKey, { force, json }: DeleteFlags): Promise<number> {
  await client.deleteMergeQueue(key, { force: force === true });
  const name = `${key.owner}/${key.repo}/${key.base_ref}`;
  console.log(json === true ? JSON.stringify({ deleted: true }) : `deleted ${name}`);
  return exitCode.ok;
}
