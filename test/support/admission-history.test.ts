import { describe, expect, test } from 'vitest';
import { findViolations, type Grant, mostAtOnce } from './admission-history.ts';

const sound: Grant[] = [
  { claimId: 'a', slot: 1, token: 10, acquiredAt: 100, endedAt: 200 },
  { claimId: 'b', slot: 2, token: 11, acquiredAt: 150, endedAt: 300 },
  { claimId: 'c', slot: 1, token: 12, acquiredAt: 200, endedAt: null },
];

describe('the checker of grant histories', () => {
  test('a sound history has no violations, and a slot may change hands at one instant', () => {
    expect(findViolations(sound, { limit: 2, seen: [{ claimId: 'a', token: 10 }] })).toEqual([]);
    expect(
      mostAtOnce([
        { from: 1, to: 2 },
        { from: 2, to: 3 },
      ]),
    ).toBe(1);
  });

  test('a planted grant above the limit is found', () => {
    const planted = { claimId: 'x', slot: 3, token: 13, acquiredAt: 250, endedAt: 260 };
    expect(findViolations([...sound, planted], { limit: 2, seen: [] })).toEqual(['3 grants at once, the limit is 2']);
  });

  test('a slot granted while it was held is found, also below the limit', () => {
    const planted = { claimId: 'x', slot: 1, token: 13, acquiredAt: 400, endedAt: 401 };
    expect(findViolations([...sound, planted], { limit: 9, seen: [] })).toEqual(['slot 1 was held twice at once']);
  });

  test('a token that came back is found', () => {
    const planted = { claimId: 'x', slot: 2, token: 12, acquiredAt: 400, endedAt: 401 };
    expect(findViolations([...sound, planted], { limit: 2, seen: [] })).toEqual(['token 12 of x came after token 12']);
  });

  test('an answer that history does not know is found', () => {
    expect(findViolations(sound, { limit: 2, seen: [{ claimId: 'a', token: 11 }] })).toEqual([
      'a client got token 11 for a, history lacks it',
    ]);
  });
});
