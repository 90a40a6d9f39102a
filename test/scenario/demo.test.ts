import { join } from 'node:path';
import { expect, test } from 'vitest';
import { BackgroundProcess } from '../support/background-process.ts';

test('the demo runs to its end in less than a minute, and all it checks holds', { timeout: 120_000 }, async () => {
  const startedAt = performance.now();
  await using demo = await BackgroundProcess.node(join(import.meta.dirname, '../demo/demo.ts'));
  const { exitCode } = await demo.ended;
  expect(demo.output).not.toMatch(/BROKEN|FAILED|broke off/);
  expect(exitCode, demo.output).toBe(0);
  expect(performance.now() - startedAt).toBeLessThan(60_000);
  expect(demo.output.match(/^holds /gm)).toHaveLength(7);
  expect(demo.output).toMatch(/REFUSED {2}a late write/);
  expect(demo.output).toMatch(
    /client-\d\d {2}signalbox: waiting for a place in demo: position \d+ of \d+, (behind others|no free slot)/,
  );
  expect(demo.output).toMatch(/client-06 {2}signalbox: the lease was lost/);
});
