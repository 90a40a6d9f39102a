import { type Command } from 'commander';
import type { SignalboxClient } from '../client/index.ts';
import type { BlockedQueue } from '../protocol/dead-letters.ts';
import { wholeNumber } from './dead-letters.ts';
import { exitCode } from './exit-codes.ts';
import { type ActorFlags, firstOf, operatorCommand, withActorOption } from './operator-command.ts';
import { oneLine } from './printable.ts';
import type { Environment } from './program.ts';
import { type ServiceFlags, withServiceOptions } from './service-options.ts';
import { table } from './status/table.ts';

interface ListFlags extends ServiceFlags {
  readonly prefix?: string;
  readonly limit: number;
  readonly json?: true;
}
interface ActFlags extends ActorFlags {
  readonly reason?: string;
}

/** Adds `blocked list`, `retry`, `skip` and `unblock`: clients of a running service. */
export function addBlockedCommands(program: Command, environment: Environment, done: (code: number) => void): void {
  const blocked = program.command('blocked').description('lines that stand still behind a run that failed');
  withServiceOptions(blocked.command('list'))
    .description('show which queues stand still, since when and behind what')
    .option('--prefix <prefix>', 'only queues whose names begin so')
    .option('--limit <n>', 'so many queues at most', wholeNumber(1, 100_000), 1000)
    .option('--json', 'print one JSON document')
    .action(async (flags: ListFlags) => {
      done(await operatorCommand(flags, environment, (client) => list(client, flags)));
    });
  for (const { name, description, act } of [
    { name: 'retry', description: 'try a delayed or dead run now, at its old place', act: retry },
    { name: 'skip', description: 'go on without a run that blocks its line; it is kept as a dead letter', act: skip },
  ]) {
    acting(blocked.command(name))
      .description(description)
      .argument('<queue>')
      .argument('<claim_id>')
      .action(async (queue: string, claimId: string, flags: ActFlags) => {
        done(await operatorCommand(flags, environment, (client) => act(client, queue, claimId, flags)));
      });
  }
  acting(blocked.command('unblock'))
    .description('let a line go on; what blocks it stays where it is')
    .argument('<queue>')
    .action(async (queue: string, flags: ActFlags) => {
      done(await operatorCommand(flags, environment, (client) => unblock(client, queue, flags)));
    });
}

function acting(command: Command): Command {
  return withActorOption(withServiceOptions(command))
    .option('--reason <text>', 'why, for the audit')
    .option('--json', 'print the answer as JSON');
}

async function list(client: SignalboxClient, { prefix, limit, json }: ListFlags): Promise<number> {
  const { items, more } = await firstOf<BlockedQueue>(limit, async (cursor, size) => {
    const page = await client.listBlocked({ prefix, cursor, limit: size });
    return { items: page.queues, next: page.next_cursor };
  });
  console.log(json === true ? JSON.stringify({ queues: items, more }) : blockedTable(items));
  if (more) console.error(`These are the first ${items.length} queues; --limit shows more.`);
  return exitCode.ok;
}

const heads = ['QUEUE', 'POLICY', 'SINCE', 'WAITING', 'CLAIM_ID', 'STATE', 'ATTEMPTS', 'DUE', 'ERROR'];

/** One line for each run that blocks. */
function blockedTable(queues: readonly BlockedQueue[]): string {
  if (queues.length === 0) return 'no line is blocked';
  return table(
    heads,
    queues.flatMap((queue) =>
      queue.blocked_by.map((run) => [
        queue.queue,
        queue.on_failure,
        queue.since,
        `${queue.waiting}`,
        run.claim_id,
        run.state === 'dead' ? `dead (${run.reason})` : 'delayed',
        `${run.attempts}`,
        run.due_at ?? '-',
        oneLine(run.error),
      ]),
    ),
  );
}

async function retry(client: SignalboxClient, queue: string, claimId: string, flags: ActFlags): Promise<number> {
  const run = await client.retryRun(queue, claimId, by(flags));
  console.log(flags.json === true ? JSON.stringify(run) : `${claimId} is in line; attempts so far: ${run.attempts}`);
  return exitCode.ok;
}

async function skip(client: SignalboxClient, queue: string, claimId: string, flags: ActFlags): Promise<number> {
  const ended = await client.skipRun(queue, claimId, by(flags));
  console.log(flags.json === true ? JSON.stringify(ended) : `${claimId} is skipped and kept as a dead letter`);
  return exitCode.ok;
}

async function unblock(client: SignalboxClient, queue: string, flags: ActFlags): Promise<number> {
  const answer = await client.unblockQueue(queue, by(flags));
  console.log(flags.json === true ? JSON.stringify(answer) : `unblocked ${answer.unblocked}`);
  return exitCode.ok;
}

function by({ actor, reason }: ActFlags): { readonly actor: string; readonly reason?: string } {
  return reason === undefined ? { actor } : { actor, reason };
}
