import { type Command, InvalidArgumentError } from 'commander';
import { SignalboxClient } from '../client/index.ts';
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
  return {
    url: flags.url ?? serviceUrl(given(environment['SIGNALBOX_URL']) ?? 'http://127.0.0.1:8080'),
    token: flags.token ?? given(environment['SIGNALBOX_TOKEN']),
  };
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
  return text;
}
