import { InvalidArgumentError } from 'commander';

const unitsMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** A duration with its unit (`500ms`, `30s`, `10m`, `2h`, `5d`), in ms. For commander: what is not one is a usage error. */
export function durationMs(minMs: number, maxMs: number): (text: string) => number {
  return (text) => {
    const [, amount = '', unit = ''] = /^(\d{1,9})(ms|s|m|h|d)$/.exec(text) ?? [];
    const ms = Number(amount) * (unitsMs[unit] ?? NaN);
    if (!Number.isFinite(ms))
      throw new InvalidArgumentError('It must be a number with a unit: 500ms, 30s, 10m, 2h, 5d.');
    if (ms < minMs || ms > maxMs) {
      throw new InvalidArgumentError(`It must be from ${inWords(minMs)} to ${inWords(maxMs)}.`);
    }
    return ms;
  };
}

/** A duration for people, two units at most: `4.2s`, `3m 20s`, `2h 5m`, `1d 3h`. */
export function inWords(ms: number): string {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))}ms`;
  if (ms < 60_000) return `${Number((Math.floor(ms / 100) / 10).toFixed(1))}s`;
  const seconds = Math.floor(ms / 1000);
  const parts: readonly (readonly [number, string])[] = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'm'],
    [seconds % 60, 's'],
  ];
  const first = parts.findIndex(([amount]) => amount > 0);
  return parts
    .slice(first, first + 2)
    .filter(([amount]) => amount > 0)
    .map(([amount, unit]) => `${amount}${unit}`)
    .join(' ');
}
