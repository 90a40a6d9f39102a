import { expect, test } from 'vitest';
import { HolderId } from '../../src/protocol/ids.ts';
import { processIdentity } from '../../src/runtime/ids.ts';

test('an identity is host:pid:random, different each time, and good as a holder', () => {
  const [one, other] = [processIdentity(), processIdentity()];
  expect(one).toMatch(new RegExp(`^[A-Za-z0-9._-]{1,100}:${process.pid}:[0-9a-f]{8}$`));
  expect(one).not.toBe(other);
  expect(HolderId.safeParse(one).success).toBe(true);
});
