import { type Command, Option } from 'commander';
import type { SignalboxClient } from '../client/index.ts';
import { SignalboxError } from '../protocol/errors.ts';
import { type MergeQueueDetail, type MergeQueuePage, parseMergeQueueName } from '../protocol/merge-queue.ts';
import type { OrchestratorView } from '../protocol/orchestrator.ts';
import type { QueueDetail } from '../protocol/queues.ts';
import { jittered } from '../runtime/backoff.ts';
import { Pause } from '../runtime/pause.ts';
import { durationMs } from './duration.ts';
import { exitCode, runExitCode } from './exit-codes.ts';
import type { Environment } from './program.ts';
import { OutsideSignals } from './run/outside-signals.ts';
import { clientOf, type ServiceFlags, withServiceOptions } from './service-options.ts';
import { statusText } from './status/text.ts';

export interface StatusFlags extends ServiceFlags {
  readonly prefix?: string;
  readonly json?: true;
  readonly watch?: true;
  /** Period of `--watch`, in ms. */
  readonly every: number;
}

/** What `--json` prints: one document, in the words of the HTTP interface. */
export interface Status {
  /** null = the token is only for some queues, so leader and replicas are not for it to see. */
  readonly orchestrator: OrchestratorView | null;
  readonly queues: readonly QueueDetail[];
  readonly merge_queues: readonly MergeQueueDetail[];
  /** Asked for by name and not there. */
  readonly missing: readonly string[];
}

/** How many queues are read at the same time. */
const readersMax = 8;

export function describeStatus(command: Command): Command {
  return withServiceOptions(command)
    .description('show queues, merge queues, holders, the head of the line, leader and replicas')
    .argument('[queue...]', 'only these (default: all)')
    .option('--prefix <prefix>', 'only queues whose name begins so')
    .option('--json', 'print one JSON document')
    .option('--watch', 'show it again and again, until a signal')
    .addOption(
      new Option('--every <duration>', 'how often --watch shows it')
        .argParser(durationMs(100, 3_600_000))
        .default(2000, '2s'),
    );
}

/**
 * `signalbox status`: what the service says of its queues and replicas, once or, with `--watch`, until TERM or INT. Exits
 * with 1 if a queue asked for by name is not there, 123 if the service cannot be reached or refuses.
 */
export async function statusCommand(
  flags: StatusFlags,
  names: readonly string[],
  environment: Environment,
): Promise<number> {
  const client = clientOf(flags, environment);
  using signals = new OutsideSignals();
  const { signal } = signals;
  const periodMs = flags.watch === true ? flags.every : undefined;
  let code: number = exitCode.ok;
  do {
    try {
      const status = await readStatus(client, { names, prefix: flags.prefix, signal });
      code = status.missing.length > 0 ? exitCode.failed : exitCode.ok;
      const text = flags.json === true ? JSON.stringify(status) : statusText(status, client.url);
      const isRedrawn = periodMs !== undefined && process.stdout.isTTY && flags.json !== true;
      console.log(isRedrawn ? `\u001b[H\u001b[2J${text}` : text);
    } catch (error) {
      if (signal.aborted) break;
      console.error(`signalbox: ${error instanceof Error ? error.message : String(error)}`);
      code = runExitCode.noService;
    }
    if (periodMs !== undefined) await new Pause().wait(jittered(periodMs, 0.05), signal);
  } while (periodMs !== undefined && !signal.aborted);
  return signal.aborted ? exitCode.ok : code;
}

async function readStatus(
  client: SignalboxClient,
  options: { readonly names: readonly string[]; readonly prefix: string | undefined; readonly signal: AbortSignal },
): Promise<Status> {
  const { names, prefix, signal } = options;
  const orchestrator = await client.orchestrator({ signal }).catch((error: unknown) => {
    if (error instanceof SignalboxError && error.code === 'forbidden') return null;
    throw error;
  });
  const isNamed = names.length > 0;
  const wanted = isNamed ? [...names] : await queueNames(client, prefix, signal);
  const mergeQueues = isNamed ? [] : await allMergeQueues(client, prefix, signal);
  const details = new Map<string, QueueDetail>();
  const missing: string[] = [];
  const left = wanted.values();
  const reader = async () => {
    for (const name of left) {
      const mergeQueue = isNamed ? await namedMergeQueue(client, name, signal) : undefined;
      if (mergeQueue !== undefined) mergeQueues.push(mergeQueue);
      else {
        const detail = await whereFound(client.getQueue(name, { signal }));
        if (detail !== undefined) details.set(name, detail);
        // One of the list may have been deleted since.
        else if (isNamed) missing.push(name);
      }
    }
  };
  await Promise.all(Array.from({ length: readersMax }, reader));
  return {
    orchestrator,
    queues: wanted.flatMap((name) => details.get(name) ?? []),
    merge_queues: mergeQueues.toSorted((a, b) => (a.queue < b.queue ? -1 : 1)),
    missing,
  };
}

/** Undefined if it is not there, or if the service is of a version that knows none of its kind. */
async function whereFound<Detail>(asked: Promise<Detail>): Promise<Detail | undefined> {
  try {
    return await asked;
  } catch (error) {
    const isMissing =
      error instanceof SignalboxError &&
      ['queue_not_found', 'merge_queue_not_found', 'route_not_found'].includes(error.code);
    if (isMissing) return undefined;
    throw error;
  }
}

async function namedMergeQueue(
  client: SignalboxClient,
  name: string,
  signal: AbortSignal,
): Promise<MergeQueueDetail | undefined> {
  const id = parseMergeQueueName(name);
  if (id === undefined) return undefined;
  return whereFound(client.getMergeQueue({ owner: id.owner, repo: id.repo, base_ref: id.baseRef }, { signal }));
}

async function allMergeQueues(
  client: SignalboxClient,
  prefix: string | undefined,
  signal: AbortSignal,
): Promise<MergeQueueDetail[]> {
  const found: MergeQueueDetail[] = [];
  let cursor: string | null = '';
  while (cursor !== null) {
    const page: MergeQueuePage | undefined = await whereFound(
      client.listMergeQueues({ prefix, cursor, limit: 100, signal }),
    );
    found.push(...(page?.merge_queues ?? []));
    cursor = page?.next_cursor ?? null;
  }
  return found;
}

async function queueNames(
  client: SignalboxClient,
  prefix: string | undefined,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const names: string[] = [];
  let cursor: string | null = '';
  while (cursor !== null) {
    const page = await client.listQueues({ cursor, limit: 1000, signal, ...(prefix === undefined ? {} : { prefix }) });
    names.push(...page.queues.map(({ queue }) => queue));
    cursor = page.next_cursor;
  }
  return names;
}
