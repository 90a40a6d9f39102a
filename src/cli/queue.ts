import { type Command, InvalidArgumentError } from 'commander';
import { drainQueue, type SignalboxClient } from '../client/index.ts';
import { SignalboxError } from '../protocol/errors.ts';
import { formOf } from '../protocol/forms.ts';
import { QueueName } from '../protocol/ids.ts';
import { QueueSettings, type QueueDetail, type QueueSettingsChange, type QueueSummary } from '../protocol/queues.ts';
import { fitting } from './arguments.ts';
import { wholeNumber } from './dead-letters.ts';
import { durationMs } from './duration.ts';
import { exitCode, runExitCode } from './exit-codes.ts';
import { firstOf, operatorCommand } from './operator-command.ts';
import type { Environment } from './program.ts';
import { queuesTable, queueText } from './queue/text.ts';
import { OutsideSignals } from './run/outside-signals.ts';
import { type ServiceFlags, withServiceOptions } from './service-options.ts';

interface JsonFlags extends ServiceFlags {
  readonly json?: true;
}
interface ListFlags extends JsonFlags {
  readonly prefix?: string;
  readonly limit: number;
}
interface SetFlags extends JsonFlags {
  readonly inherit?: string;
  readonly ifVersion?: number;
}
interface DrainFlags extends JsonFlags {
  readonly wait?: true;
  readonly timeout?: number;
}
interface DeleteFlags extends JsonFlags {
  readonly force?: true;
  readonly ifVersion?: number;
}

/** Commands that change one setting of a queue that is there. */
const switches = [
  { name: 'pause', description: 'grant nothing until it is resumed; who holds goes on', change: { paused: true } },
  { name: 'resume', description: 'grant again', change: { paused: false } },
  { name: 'open', description: 'take new claims and runs again, after a drain', change: { closed: false } },
] as const;

/** Adds `queue list`, `show`, `set`, `pause`, `resume`, `drain`, `open` and `delete`: clients of a running service. */
export function addQueueCommands(program: Command, environment: Environment, done: (code: number) => void): void {
  const queue = program.command('queue').description('queues: look, set, pause, drain, delete');
  const run = async (flags: ServiceFlags, work: (client: SignalboxClient) => Promise<number>) =>
    done(await operatorCommand(flags, environment, work));
  withJson(queue.command('list'))
    .description('show queues: limit, holders, how many wait')
    .option('--prefix <prefix>', 'only those whose names begin so')
    .option('--limit <n>', 'so many at most', wholeNumber(1, 100_000), 1000)
    .action((flags: ListFlags) => run(flags, (client) => list(client, flags)));
  onOne(queue.command('show'))
    .description('show one queue: its settings and where they come from, its holders and its line')
    .action((name: string, flags: JsonFlags) => run(flags, (client) => show(client, name, flags)));
  withVersion(onOne(queue.command('set')))
    .description('make a queue, with nothing named as its pattern says, or change what is named')
    .argument('[setting=value...]', 'as in the HTTP interface: concurrency_limit=3 max_wait_ms=null')
    .option('--inherit <setting,…>', 'settings that become what its pattern says, or else the default')
    .action((name: string, words: readonly string[], flags: SetFlags) => {
      const change = settingsOf(words, flags);
      return run(flags, (client) => set(client, name, change, flags));
    });
  for (const { name: command, description, change } of switches) {
    onOne(queue.command(command))
      .description(description)
      .action((name: string, flags: JsonFlags) => run(flags, (client) => turn(client, name, change, flags)));
  }
  onOne(queue.command('drain'))
    .description('close a queue: it takes nothing new, and serves what it has')
    .option('--wait', 'until nobody holds, waits or is delayed')
    .option('--timeout <duration>', 'with --wait: exit 1 after so long (default: never)', durationMs(0, 2_592_000_000))
    .action((name: string, flags: DrainFlags) => {
      if (flags.timeout !== undefined && flags.wait !== true)
        throw new InvalidArgumentError('--timeout goes with --wait only.');
      return run(flags, (client) => drain(client, name, flags));
    });
  withVersion(onOne(queue.command('delete')))
    .description('delete a queue that nobody uses')
    .option('--force', 'end its holders, claims, runs and dead letters first')
    .action((name: string, flags: DeleteFlags) => run(flags, (client) => remove(client, name, flags)));
}

function withJson(command: Command): Command {
  return withServiceOptions(command).option('--json', 'print the answer as JSON');
}

function onOne(command: Command): Command {
  return withJson(command).argument('<queue>', 'its name', fitting(QueueName));
}

function withVersion(command: Command): Command {
  return command.option('--if-version <n>', 'only if its settings are at this version', wholeNumber(1, 1e9));
}

type SettingName = keyof typeof QueueSettings.shape;

const settingNames = `The settings are ${Object.keys(QueueSettings.shape).join(', ')}.`;

function isSetting(name: string): name is SettingName {
  return Object.hasOwn(QueueSettings.shape, name);
}

/** `name=value`, the value as JSON where that fits the setting, else as the text it is. */
function settingsOf(words: readonly string[], { inherit }: SetFlags): QueueSettingsChange {
  const change: Record<string, unknown> = {};
  for (const word of words) {
    const [, name = '', text = ''] = /^([^=]*)=(.*)$/s.exec(word) ?? [];
    if (!word.includes('=')) throw new InvalidArgumentError(`${word}: it must be setting=value. ${settingNames}`);
    if (!isSetting(name)) throw new InvalidArgumentError(`${word}: there is no setting ${name}. ${settingNames}`);
    if (Object.hasOwn(change, name)) throw new InvalidArgumentError(`${word}: ${name} is given twice.`);
    const schema = QueueSettings.shape[name];
    const fit = [jsonOf(text), text].map((value) => schema.safeParse(value)).find(({ success }) => success);
    if (fit === undefined) throw new InvalidArgumentError(`${word}: ${name} must be ${formOf(schema)}.`);
    change[name] = fit.data;
  }
  if (inherit === undefined) return change;
  const names = inherit.split(',').map((name) => name.trim());
  for (const name of names) {
    if (!isSetting(name)) throw new InvalidArgumentError(`--inherit: there is no setting ${name}. ${settingNames}`);
    if (Object.hasOwn(change, name))
      throw new InvalidArgumentError(`--inherit: ${name} is set to a value too; it can be one of both.`);
  }
  return { ...change, inherit: names as SettingName[] };
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

async function list(client: SignalboxClient, { prefix = '', limit, json }: ListFlags): Promise<number> {
  const { items, more } = await firstOf<QueueSummary>(limit, async (cursor, size) => {
    const page = await client.listQueues({ prefix, cursor, limit: size });
    return { items: page.queues, next: page.next_cursor };
  });
  console.log(json === true ? JSON.stringify({ queues: items, more }) : queuesTable(items));
  if (more) console.error(`These are the first ${items.length}; --limit shows more.`);
  return exitCode.ok;
}

async function show(client: SignalboxClient, name: string, flags: JsonFlags): Promise<number> {
  return told(await client.getQueue(name), flags, queueText);
}

async function set(
  client: SignalboxClient,
  name: string,
  change: QueueSettingsChange,
  flags: SetFlags,
): Promise<number> {
  const { ifVersion } = flags;
  if (Object.keys(change).length === 0 && (await isThere(client, name))) {
    console.error(`signalbox: nothing to set: name setting=value, or --inherit <setting,…>. ${settingNames}`);
    return exitCode.usage;
  }
  return told(
    await client.configureQueue(name, change, ifVersion === undefined ? {} : { ifVersion }),
    flags,
    queueText,
  );
}

async function isThere(client: SignalboxClient, name: string): Promise<boolean> {
  try {
    await client.getQueue(name);
    return true;
  } catch (error) {
    if (error instanceof SignalboxError && error.code === 'queue_not_found') return false;
    throw error;
  }
}

/** A setting would make a queue that is not there; a name that was mistyped is told. */
async function turn(
  client: SignalboxClient,
  name: string,
  change: QueueSettingsChange,
  flags: JsonFlags,
): Promise<number> {
  await client.getQueue(name);
  return told(await client.configureQueue(name, change), flags, stateText);
}

async function drain(client: SignalboxClient, name: string, flags: DrainFlags): Promise<number> {
  using signals = new OutsideSignals();
  let shown = '';
  const onLook = (queue: QueueDetail) => {
    const text = leftText(queue);
    if (flags.json !== true && flags.wait === true && text !== shown) console.error(text);
    shown = text;
  };
  const timeoutMs = flags.wait === true ? flags.timeout : 0;
  try {
    const { empty, queue } = await drainQueue(client, name, { timeoutMs, onLook, signal: signals.signal });
    told(queue, flags, stateText);
    return empty || flags.wait !== true ? exitCode.ok : exitCode.failed;
  } catch (error) {
    if (!signals.signal.aborted) throw error;
    console.error(`signalbox: ${(signals.signal.reason as Error).message}; what was closed stays closed`);
    return runExitCode.cancelled;
  }
}

async function remove(client: SignalboxClient, name: string, { force, ifVersion, json }: DeleteFlags): Promise<number> {
  await client.deleteQueue(name, { force: force === true, ...(ifVersion === undefined ? {} : { ifVersion }) });
  console.log(json === true ? JSON.stringify({ deleted: true }) : `deleted ${name}`);
  return exitCode.ok;
}

function told(queue: QueueDetail, { json }: JsonFlags, text: (queue: QueueDetail) => string): number {
  console.log(json === true ? JSON.stringify(queue) : text(queue));
  return exitCode.ok;
}

function stateText(queue: QueueDetail): string {
  const is = [queue.closed ? 'closed' : 'open', ...(queue.paused ? ['paused'] : [])].join(', ');
  return `${queue.queue} is ${is}: ${leftText(queue)}`;
}

function leftText({ held, waiting, delayed }: QueueDetail): string {
  return `${held} held, ${waiting} waiting, ${delayed} delayed`;
}
