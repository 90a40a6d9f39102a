import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { SignalboxClient } from '../client/index.ts';
import { QueuePrefix } from '../protocol/access.ts';
import { SignalboxError } from '../protocol/errors.ts';
import { EventType } from '../protocol/events.ts';
import {
  type ConfiguredWebhook,
  type Webhook,
  type WebhookDocument,
  WebhookName,
  WebhookSecret,
  WebhookUrl,
} from '../protocol/webhooks.ts';
import { fitting } from './arguments.ts';
import { wholeNumber } from './dead-letters.ts';
import { exitCode } from './exit-codes.ts';
import { labels } from './label.ts';
import { flag } from './merge-queue.ts';
import { operatorCommand } from './operator-command.ts';
import type { Environment } from './program.ts';
import { type ServiceFlags, withServiceOptions } from './service-options.ts';
import { webhooksTable, webhookTestText, webhookText } from './webhook/text.ts';

interface JsonFlags extends ServiceFlags {
  readonly json?: true;
}
interface VersionFlags extends JsonFlags {
  readonly ifVersion?: number;
}
/** Commander takes null for an empty text. */
type LabelFilter = Readonly<Record<string, string>> | 'all';
interface SetFlags extends VersionFlags {
  readonly to?: string;
  readonly prefix?: string;
  readonly types?: readonly EventType[] | 'all';
  readonly label?: LabelFilter;
  readonly enabled?: boolean;
  readonly allowHttp?: boolean;
  readonly secretFile?: string;
  readonly rotate?: true;
}

/** Adds `webhook list`, `show`, `set`, `delete` and `test`: clients of a running service. */
export function addWebhookCommands(program: Command, environment: Environment, done: (code: number) => void): void {
  const webhook = program.command('webhook').description('webhooks, which are sent the feed: look, set, and try one');
  withJson(webhook.command('list'))
    .description('show all webhooks: where to, how far behind, and why')
    .action(async (flags: JsonFlags) => {
      done(await operatorCommand(flags, environment, (client) => list(client, flags)));
    });
  onOne(webhook.command('show'))
    .description('show one webhook; never its secret')
    .action(async (name: string, flags: JsonFlags) => {
      done(await operatorCommand(flags, environment, (client) => show(client, name, flags)));
    });
  settingOptions(onOne(webhook.command('set')))
    .description('make a webhook, or change its settings; what is not named stays as it is')
    .action(async (name: string, flags: SetFlags) => {
      const secret = secretOf(flags);
      done(await operatorCommand(flags, environment, (client) => set(client, name, secret, flags)));
    });
  withVersion(onOne(webhook.command('delete')))
    .description('delete a webhook')
    .action(async (name: string, flags: VersionFlags) => {
      done(await operatorCommand(flags, environment, (client) => remove(client, name, flags)));
    });
  onOne(webhook.command('test'))
    .description('send it one signed event now, and tell what the receiver said; exits 1 if it was not delivered')
    .action(async (name: string, flags: JsonFlags) => {
      done(await operatorCommand(flags, environment, (client) => test(client, name, flags)));
    });
}

function withJson(command: Command): Command {
  return withServiceOptions(command).option('--json', 'print the answer as JSON');
}

function onOne(command: Command): Command {
  return withJson(command).argument('<name>', 'its name', fitting(WebhookName));
}

function withVersion(command: Command): Command {
  return command.option('--if-version <n>', 'only if it is at this version; 0: if there is none', wholeNumber(0, 1e9));
}

function settingOptions(command: Command): Command {
  return withVersion(command)
    .option('--to <url>', 'where to POST to; a new webhook needs one', fitting(WebhookUrl))
    .option('--prefix <prefix>', 'only events of queues whose names begin so; empty: of all', fitting(QueuePrefix))
    .option('--types <type,…>', 'only events of these types; or `all`', eventTypes)
    .option('--label <k=v>', 'only events of claims with this label; may be repeated, all count; or `all`', labelFilter)
    .option('--enabled <bool>', 'false: nothing is sent, and its place in the feed is kept', flag)
    .option('--allow-http <bool>', 'http, unencrypted, also to other machines', flag)
    .option('--secret-file <path>', 'a file that holds the secret; `-`: stdin')
    .addOption(new Option('--rotate', 'make another secret, and show it').conflicts('secretFile'));
}

function labelFilter(text: string, known?: LabelFilter): LabelFilter {
  return text === 'all' ? text : labels(text, known === 'all' ? undefined : known);
}

function eventTypes(text: string): readonly EventType[] | 'all' {
  if (text === 'all') return text;
  return text.split(',').map((word) => {
    const { data, error } = EventType.safeParse(word.trim());
    if (error !== undefined)
      throw new InvalidArgumentError(`${word.trim()} is no type of event. They are ${EventType.options.join(', ')}.`);
    return data;
  });
}

async function list(client: SignalboxClient, { json }: JsonFlags): Promise<number> {
  const webhooks = await client.listWebhooks();
  console.log(json === true ? JSON.stringify({ webhooks }) : webhooksTable(webhooks));
  return exitCode.ok;
}

async function show(client: SignalboxClient, name: string, { json }: JsonFlags): Promise<number> {
  const webhook = await client.getWebhook(name);
  console.log(json === true ? JSON.stringify(webhook) : webhookText(webhook));
  return exitCode.ok;
}

/** The service takes whole documents: what is not named comes from the one that is there, at the version that was read. */
async function set(
  client: SignalboxClient,
  name: string,
  secret: string | undefined,
  flags: SetFlags,
): Promise<number> {
  const old = await ifAny(client.getWebhook(name));
  const url = flags.to ?? old?.url;
  if (url === undefined) {
    console.error(`signalbox: there is no webhook ${name} yet: say where to with --to`);
    return exitCode.usage;
  }
  const { to, prefix, types, label, enabled, allowHttp } = flags;
  if ([to, prefix, types, label, enabled, allowHttp, secret].every((given) => given === undefined)) {
    const names = Object.values(flagOf).join(', ');
    console.error(`signalbox: nothing to set for ${name}: say what with ${names} or --rotate`);
    return exitCode.usage;
  }
  const document: WebhookDocument = {
    url,
    secret,
    queue_prefix: flags.prefix ?? old?.queue_prefix,
    types: typesOf(flags, old),
    // A service of an earlier version knows of none.
    labels: flags.label === 'all' ? null : (flags.label ?? old?.labels),
    enabled: flags.enabled ?? old?.enabled,
    allow_http: flags.allowHttp ?? old?.allow_http,
  };
  const ifVersion = flags.ifVersion ?? old?.version ?? 0;
  const webhook = await byFlag(client.configureWebhook(name, document, { ifVersion }));
  const shown: ConfiguredWebhook = flags.rotate === true && secret !== undefined ? { ...webhook, secret } : webhook;
  console.log(flags.json === true ? JSON.stringify(shown) : webhookText(shown));
  return exitCode.ok;
}

function typesOf({ types }: SetFlags, old: Webhook | undefined): WebhookDocument['types'] {
  if (types === undefined) return old?.types as WebhookDocument['types'];
  return types === 'all' ? null : [...types];
}

/** Which option each field of the document comes from. */
const flagOf: Readonly<Record<string, string>> = {
  url: '--to',
  queue_prefix: '--prefix',
  types: '--types',
  labels: '--label',
  enabled: '--enabled',
  allow_http: '--allow-http',
  secret: '--secret-file',
};

/** What the service does not take is told by the option that it was given with. */
async function byFlag<Answer>(asked: Promise<Answer>): Promise<Answer> {
  try {
    return await asked;
  } catch (error) {
    if (!(error instanceof SignalboxError) || error.code !== 'invalid_request') throw error;
    const faults = error.extra['errors'] as readonly { readonly path: string; readonly message: string }[] | undefined;
    const detail = faults?.map(({ path, message }) => `${flagOf[path.split('/')[1] ?? ''] ?? path}: it ${message}`);
    throw detail === undefined ? error : new SignalboxError(error.code, { detail: detail.join('; '), cause: error });
  }
}

/** The one of the file, or a new one; undefined = it stays, or the service makes one. */
function secretOf({ secretFile, rotate }: SetFlags): string | undefined {
  if (rotate === true) return `whsec_${randomBytes(32).toString('base64')}`;
  if (secretFile === undefined) return undefined;
  let secret: string;
  try {
    secret = readFileSync(secretFile === '-' ? 0 : secretFile, 'utf8').trim();
  } catch (error) {
    throw new InvalidArgumentError(`The secret cannot be read: ${(error as Error).message}`);
  }
  const { error } = WebhookSecret.safeParse(secret);
  if (error === undefined) return secret;
  throw new InvalidArgumentError(
    `--secret-file: what it holds ${error.issues[0]?.message ?? 'is none'}. (It is not shown.)`,
  );
}

async function ifAny(asked: Promise<Webhook>): Promise<Webhook | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof SignalboxError && error.code === 'webhook_not_found') return undefined;
    throw error;
  }
}

async function remove(client: SignalboxClient, name: string, { ifVersion, json }: VersionFlags): Promise<number> {
  await client.deleteWebhook(name, ifVersion === undefined ? {} : { ifVersion });
  console.log(json === true ? JSON.stringify({ deleted: true }) : `deleted ${name}`);
  return exitCode.ok;
}

async function test(client: SignalboxClient, name: string, { json }: JsonFlags): Promise<number> {
  const answer = await client.testWebhook(name);
  console.log(json === true ? JSON.stringify(answer) : webhookTestText(answer));
  return answer.delivered ? exitCode.ok : exitCode.failed;
}
