import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const manifest = JSON.parse(readFileSync(join(import.meta.dirname, '../../package.json'), 'utf8')) as {
  version: string;
};

/** The version of this program, from package.json. */
export const programVersion: string = manifest.version;

/** Whether version `a` comes before `b`. Both are plain `major.minor.patch`; anything behind a dash does not count. */
export function isOlderVersion(a: string, b: string): boolean {
  const [left, right] = [parts(a), parts(b)];
  for (const place of [0, 1, 2]) {
    const difference = (left[place] ?? 0) - (right[place] ?? 0);
    if (difference !== 0) return difference < 0;
  }
  return false;
}

function parts(version: string): number[] {
  return (version.split('-')[0] ?? '').split('.').map(Number);
}
