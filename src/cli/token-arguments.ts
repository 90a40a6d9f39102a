import { InvalidArgumentError } from 'commander';
import { QueuePrefix, TokenName } from '../protocol/access.ts';
import { fitting } from './arguments.ts';

const unitMs: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000 };
const lifetimeMsMax = 3650 * 86_400_000;

/** `90d`, `12h`, `30m` in ms. */
export function parseLifetime(text: string): number {
  const [, count = '', unit = ''] = /^([1-9][0-9]{0,6})([mhd])$/.exec(text) ?? [];
  const lifetimeMs = Number(count) * (unitMs[unit] ?? Number.NaN);
  if (!(lifetimeMs > 0 && lifetimeMs <= lifetimeMsMax))
    throw new InvalidArgumentError('It must be a number with m, h or d, like 90d, and at most 3650d.');
  return lifetimeMs;
}

export const parseTokenName = fitting(TokenName);
export const parseQueuePrefix = fitting(QueuePrefix);
