import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { isOlderVersion, programVersion } from '../../src/runtime/version.ts';

describe('the version', () => {
  it('is that of package.json', () => {
    const manifest = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
    expect(programVersion).toBe((JSON.parse(manifest) as { version: string }).version);
  });

  it.each([
    ['0.1.0', '0.2.0', true],
    ['0.9.0', '0.10.0', true],
    ['1.0.0', '0.10.9', false],
    ['1.2.3', '1.2.4', true],
    ['1.2.3', '1.2.3', false],
    ['1.2.3-rc.1', '1.2.3', false],
    ['1.2', '1.2.1', true],
  ])('%s is older than %s: %s', (a, b, older) => {
    expect(isOlderVersion(a, b)).toBe(older);
  });
});
