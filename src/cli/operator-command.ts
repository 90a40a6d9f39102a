import type { Command } from 'commander';
import { type SignalboxClient } from '../client/index.ts';
import { type ErrorCode, SignalboxError } from '../protocol/errors.ts';
import { exitCode, runExitCode } from './exit-codes.ts';
import type { Environment } from './program.ts';
import { clientOf, type ServiceFlags } from './service-options.ts';
import { whoRuns } from './who-runs.ts';

export interface ActorFlags extends ServiceFlags {
  readonly actor: string;
  readonly json?: true;
}

export function withActorOption(command: Command): Command {
  return command.option('--actor <name>', 'who acts, for the audit (default: user@host)', whoRuns());
}

/** What is asked for is not there, or not in a state to be changed so: an answer, not a failure of the service. */
const notPossible: readonly ErrorCode[] = [
  'queue_not_found',
  'claim_not_found',
  'not_retryable',
  'not_blocking',
  'queue_in_use',
  'merge_queue_not_found',
  'merge_queue_in_use',
  'webhook_not_found',
  'version_mismatch',
];

/** What was asked for is none that can be: a mistake of whoever typed it. */
const notUsable: readonly ErrorCode[] = ['invalid_request', 'invalid_settings', 'ttl_too_long'];

/**
 * Runs one command of an operator against the service: 0, or what `work` returns; 1 if what is asked for is not there or
 * cannot be done; 2 if the service says that names or values are none; 123 if the service cannot be reached or refuses.
 */
export async function operatorCommand(
  flags: ServiceFlags,
  environment: Environment,
  work: (client: SignalboxClient) => Promise<number>,
): Promise<number> {
  const client = clientOf(flags, environment);
  try {
    return await work(client);
  } catch (error) {
    console.error(`signalbox: ${error instanceof Error ? error.message : String(error)}`);
    const code = error instanceof SignalboxError ? error.code : undefined;
    if (code !== undefined && notUsable.includes(code)) return exitCode.usage;
    return code !== undefined && notPossible.includes(code) ? exitCode.failed : runExitCode.noService;
  }
}

/** The pages behind one another, until `most` or the end; `more`: there are others. */
export async function firstOf<Item>(
  most: number,
  page: (cursor: string, limit: number) => Promise<{ readonly items: readonly Item[]; readonly next: string | null }>,
): Promise<{ readonly items: readonly Item[]; readonly more: boolean }> {
  const items: Item[] = [];
  let cursor: string | null = '';
  while (cursor !== null && items.length < most) {
    const { items: found, next } = await page(cursor, Math.min(100, most - items.length));
    items.push(...found);
    cursor = next;
  }
  return { items, more: cursor !== null };
}
