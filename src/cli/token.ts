import { type Command, Option } from 'commander';
import { makeToken } from '../access/token-form.ts';
import { type Settings, readSettings } from '../config/settings.ts';
import { type Scope, scopes } from '../protocol/access.ts';
import { Database } from '../store/database.ts';
import { openEmbeddedServer } from '../store/embedded/index.ts';
import { migrate } from '../store/migrator.ts';
import { createToken, listTokens, revokeToken } from '../store/tokens.ts';
import { exitCode } from './exit-codes.ts';
import type { Environment } from './program.ts';
import { parseLifetime, parseQueuePrefix, parseTokenName } from './token-arguments.ts';
import { tokenTable } from './token-table.ts';
import { whoRuns } from './who-runs.ts';

interface CreateOptions {
  readonly name: string;
  readonly scope: Scope;
  readonly queuePrefix: string;
  readonly expiresIn?: number;
}

/** Adds `token create`, `token list` and `token revoke`. They work on the database itself; no replica need run. */
export function addTokenCommands(program: Command, environment: Environment, done: (code: number) => void): void {
  const token = program.command('token').description('bearer tokens of the HTTP interface: make, list, revoke');
  token
    .command('create')
    .description('make a token; it is printed once, alone on stdout, and kept nowhere')
    .requiredOption('--name <name>', 'who will use it; recorded as the actor of what it changes', parseTokenName)
    .addOption(
      new Option('--scope <scope>', 'read: look; use: acquire, renew, release, cancel too; admin: all')
        .choices(scopes)
        .makeOptionMandatory(),
    )
    .option('--queue-prefix <prefix>', 'only queues whose names begin so', parseQueuePrefix, '')
    .option('--expires-in <time>', 'how long it is good, like 90d, 12h or 30m; without it for ever', parseLifetime)
    .action(async (options: CreateOptions) => done(await createCommand(environment, options)));
  token
    .command('list')
    .description('show all tokens ever made, without their secrets')
    .option('--json', 'as JSON')
    .action(async (options: { json?: true }) => done(await listCommand(environment, options.json === true)));
  token
    .command('revoke')
    .description('end a token for ever')
    .argument('<token_id>', 'the first part of the token after sbx_, as the list shows it')
    .action(async (tokenId: string) => done(await revokeCommand(environment, tokenId)));
}

async function createCommand(environment: Environment, options: CreateOptions): Promise<number> {
  const { tokenId, token, hash } = makeToken();
  const expiresAt = await withDatabase(environment, async (db, connectionString, settings) => {
    // The first token is made before the first replica may start, so before anybody else could have migrated.
    await migrate({ connectionString, roleTimeouts: settings.database.roleTimeouts });
    return createToken(db, {
      tokenId,
      hash,
      name: options.name,
      scope: options.scope,
      queuePrefix: options.queuePrefix,
      lifetimeMs: options.expiresIn ?? null,
      createdBy: whoRuns(),
    });
  });
  const reach = options.queuePrefix === '' ? 'all queues' : `queues that begin with ${options.queuePrefix}`;
  const end = expiresAt === null ? 'does not expire' : `expires ${expiresAt.toISOString()}`;
  console.error(`token ${tokenId} of ${options.name}: scope ${options.scope}, ${reach}, ${end}`);
  console.error('It is shown this once:');
  console.log(token);
  return exitCode.ok;
}

async function listCommand(environment: Environment, asJson: boolean): Promise<number> {
  const tokens = await withDatabase(environment, listTokens, { onlyExisting: true });
  if (asJson) console.log(JSON.stringify(tokens, undefined, 2));
  else for (const line of tokenTable(tokens)) console.log(line);
  return exitCode.ok;
}

async function revokeCommand(environment: Environment, tokenId: string): Promise<number> {
  const revocation = await withDatabase(environment, (db) => revokeToken(db, tokenId, whoRuns()), {
    onlyExisting: true,
  });
  switch (revocation) {
    case 'revoked':
      console.error(`token ${tokenId} is revoked`);
      return exitCode.ok;
    case 'already_revoked':
      console.error(`token ${tokenId} was revoked before`);
      return exitCode.ok;
    case 'token_not_found':
      // The argument may be a whole token, pasted; it is not printed.
      console.error('signalbox: there is no token of that id; `signalbox token list` shows them');
      return exitCode.failed;
    default:
      return revocation satisfies never;
  }
}

/** SQLSTATE of a schema, table or function that is not there. */
const notMigrated = new Set(['3F000', '42P01', '42883']);

/** Runs on the database that `serve` would use with this environment. */
async function withDatabase<T>(
  environment: Environment,
  work: (db: Database, url: string, settings: Settings) => Promise<T>,
  { onlyExisting = false } = {},
): Promise<T> {
  const settings = readSettings(environment);
  const embedded =
    settings.databaseDirectUrl === undefined
      ? await openEmbeddedServer({
          dataDir: settings.dataDir,
          onlyExisting,
          log: (message) => console.error(message),
        })
      : undefined;
  try {
    const url = embedded?.url ?? settings.databaseDirectUrl ?? '';
    await using db = new Database({ url, ...settings.database });
    return await work(db, url, settings);
  } catch (error) {
    if (error instanceof Error && 'code' in error && notMigrated.has(String(error.code)))
      throw new Error('the database does not know tokens yet; run `signalbox migrate`', { cause: error });
    throw error;
  } finally {
    await embedded?.leave();
  }
}
