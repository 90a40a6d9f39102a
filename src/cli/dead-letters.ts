import { type Command, InvalidArgumentError, Option } from 'commander';
import type { SignalboxClient } from '../client/index.ts';
import type { DeadLetter } from '../protocol/dead-letters.ts';
import { deadLetterText, deadLettersTable } from './dead-letters/text.ts';
import { exitCode } from './exit-codes.ts';
import { type ActorFlags, firstOf, operatorCommand, withActorOption } from './operator-command.ts';
import type { Environment } from './program.ts';
import { type ServiceFlags, withServiceOptions } from './service-options.ts';

interface ListFlags extends ServiceFlags {
  readonly queue?: string;
  readonly prefix?: string;
  readonly limit: number;
  readonly json?: true;
}
interface ChoiceFlags extends ActorFlags {
  readonly all?: true;
}

const idsPerCallMax = 1000;
/** All dead letters of a queue go in one call, 100 a step: one of a million takes minutes. */
const allTimeoutMs = 600_000;

/** Adds `dead-letters list`, `show`, `redrive` and `purge`: clients of a running service. */
export function addDeadLetterCommands(program: Command, environment: Environment, done: (code: number) => void): void {
  const letters = program.command('dead-letters').description('runs that died or failed: look, put back, throw away');
  withServiceOptions(letters.command('list'))
    .description('show dead letters, by queue and time of death')
    .addOption(new Option('--queue <queue>', 'only of this queue').conflicts('prefix'))
    .option('--prefix <prefix>', 'only of queues whose names begin so')
    .option('--limit <n>', 'so many at most', wholeNumber(1, 100_000), 100)
    .option('--json', 'print one JSON document, with payload and history')
    .action(async (flags: ListFlags) => {
      done(await operatorCommand(flags, environment, (client) => list(client, flags)));
    });
  withServiceOptions(letters.command('show'))
    .description('show one dead letter with what it carries and how its attempts ended')
    .argument('<queue>')
    .argument('<claim_id>')
    .option('--json', 'print it as JSON')
    .action(async (queue: string, claimId: string, flags: ListFlags) => {
      done(await operatorCommand(flags, environment, (client) => show(client, queue, claimId, flags)));
    });
  for (const { name, description, verb } of [
    { name: 'redrive', description: 'put dead letters back to their old places in the line', verb: redrive },
    { name: 'purge', description: 'delete dead letters for good, payload and all', verb: purge },
  ]) {
    withActorOption(withServiceOptions(letters.command(name)))
      .description(description)
      .argument('<queue>')
      .argument('[claim_id...]', 'which ones')
      .option('--all', 'all that the queue has now')
      .option('--json', 'print the answer as JSON')
      .action(async (queue: string, claimIds: readonly string[], flags: ChoiceFlags) => {
        if (claimIds.length > 0 === (flags.all === true))
          throw new InvalidArgumentError('Name either claim ids or --all.');
        done(await operatorCommand(flags, environment, (client) => onLetters(client, verb, queue, claimIds, flags)));
      });
  }
}

async function list(client: SignalboxClient, { queue, prefix, limit, json }: ListFlags): Promise<number> {
  const { items, more } = await firstOf<DeadLetter>(limit, async (cursor, size) => {
    const page = await client.listDeadLetters({ queue, prefix, cursor, limit: size });
    return { items: page.dead_letters, next: page.next_cursor };
  });
  console.log(json === true ? JSON.stringify({ dead_letters: items, more }) : deadLettersTable(items));
  if (more) console.error(`These are the first ${items.length}; --limit shows more.`);
  return exitCode.ok;
}

async function show(client: SignalboxClient, queue: string, claimId: string, { json }: ListFlags): Promise<number> {
  let cursor: string | null = '';
  while (cursor !== null) {
    const page = await client.listDeadLetters({ queue, cursor, limit: 100 });
    const letter = page.dead_letters.find(({ claim_id: id }) => id === claimId);
    if (letter !== undefined) {
      console.log(json === true ? JSON.stringify(letter) : deadLetterText(letter));
      return exitCode.ok;
    }
    cursor = page.next_cursor;
  }
  console.error(`signalbox: queue ${queue} has no dead letter ${claimId}`);
  return exitCode.failed;
}

interface Outcome {
  readonly count: number;
  readonly notFound: readonly string[];
}
type Choice =
  { readonly claim_ids: readonly string[]; readonly actor: string } | { readonly all: true; readonly actor: string };
interface Verb {
  readonly done: 'redriven' | 'purged';
  readonly call: (client: SignalboxClient, queue: string, choice: Choice) => Promise<Outcome>;
}

const redrive: Verb = {
  done: 'redriven',
  call: async (client, queue, choice) => {
    const answer = await client.redriveDeadLetters(queue, choice, { timeoutMs: allTimeoutMs });
    return { count: answer.redriven, notFound: answer.not_found };
  },
};
const purge: Verb = {
  done: 'purged',
  call: async (client, queue, choice) => {
    const answer = await client.purgeDeadLetters(queue, choice, { timeoutMs: allTimeoutMs });
    return { count: answer.purged, notFound: answer.not_found };
  },
};

/** 1 if one of the ids is no dead letter of the queue. */
async function onLetters(
  client: SignalboxClient,
  { done, call }: Verb,
  queue: string,
  claimIds: readonly string[],
  { actor, json }: ChoiceFlags,
): Promise<number> {
  let count = 0;
  const notFound: string[] = [];
  const ids = [...claimIds];
  do {
    const some = ids.splice(0, idsPerCallMax);
    const choice: Choice = some.length > 0 ? { claim_ids: some, actor } : { all: true, actor };
    const outcome = await call(client, queue, choice);
    count += outcome.count;
    notFound.push(...outcome.notFound);
  } while (ids.length > 0);
  console.log(json === true ? JSON.stringify({ [done]: count, not_found: notFound }) : `${done} ${count}`);
  if (json !== true) for (const id of notFound) console.error(`signalbox: queue ${queue} has no dead letter ${id}`);
  return notFound.length > 0 ? exitCode.failed : exitCode.ok;
}

export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d{1,9}$/.test(text) || value < min || value > max)
      throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
    return value;
  };
}
