import { type Command, InvalidArgumentError } from 'commander';
import { isSendable, SignalboxClient } from '../client/index.ts';
import type { Environment } from './program.ts';

export interface ServiceFlags {
  readonly url?: string;
  readonly token?: string;
}

/** `--url` and `--token`, for every command that is a client of a running service. */
export function withServiceOptions(command: Command): Command {
  return command
    .option('--url <url>', 'the service (default: SIGNALBOX_URL, else http://127.0.0.1:8080)', serviceUrl)
    .option('--token <token>', 'bearer token; better in SIGNALBOX_TOKEN, since arguments are visible to others');
}

/** Which service to ask, and with which token: flags first, then the environment. */
export function serviceOf(flags: ServiceFlags, environment: Environment): { url: string; token: string | undefined } {
  const token = flags.token ?? given(environment['SIGNALBOX_TOKEN']);
  if (token !== undefined && !isSendable(token)) {
    // `token create` prints the token alone on stdout; with stderr mixed in it is more than one line.
    throw new InvalidArgumentError('The token is not one line of printable characters. (It is not shown.)');
  }
  return { url: flags.url ?? serviceUrl(given(environment['SIGNALBOX_URL']) ?? 'http://127.0.0.1:8080'), token };
}

/** An empty value counts as absent, as everywhere. */
function given(value: string | undefined): string | undefined {
  return value === '' ? undefined : value;
}

export function clientOf(flags: ServiceFlags, environment: Environment): SignalboxClient {
  return new SignalboxClient(serviceOf(flags, environment));
}

function serviceUrl(text: string): string {
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw new InvalidArgumentError(`${text} is not the http:// or https:// URL of a service.`);
  }
  if (url.username !== '' || url.password !== '') {
    throw new InvalidArgumentError('The URL of the service must not hold a user or password. (It is not shown.)');
  }
  return text;
}
