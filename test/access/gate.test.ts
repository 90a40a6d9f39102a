import type * as nodeCrypto from 'node:crypto';
import { timingSafeEqual } from 'node:crypto';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { Gate, snapshotAgeMsMax } from '../../src/access/gate.ts';
import { hashOf, makeToken, parseBearer } from '../../src/access/token-form.ts';
import type { KnownToken, Snapshot } from '../../src/access/token-snapshot.ts';
import type { Caller } from '../../src/protocol/access.ts';
import { SignalboxError } from '../../src/protocol/errors.ts';

// The comparison is watched, not replaced, but for the one test that shows it decides.
vi.mock('node:crypto', async (importOriginal) => {
  const original = await importOriginal<typeof nodeCrypto>();
  return { ...original, timingSafeEqual: vi.fn(original.timingSafeEqual) };
});
const compare = vi.mocked(timingSafeEqual);
afterEach(() => {
  compare.mockClear();
});

const { token, tokenId, hash } = makeToken();
const known: KnownToken = { tokenId, name: 'ci', hash, scope: 'use', queuePrefix: 'ci/', goodUntilMs: Infinity };

function gate({
  nowMs = 1000,
  asOfMs = 1000,
  tokensExist = true,
  tokens = [known],
  isOpenWithoutTokens = true,
  neverRead = false,
}: {
  nowMs?: number;
  asOfMs?: number;
  tokensExist?: boolean;
  tokens?: readonly KnownToken[];
  isOpenWithoutTokens?: boolean;
  neverRead?: boolean;
} = {}) {
  const used: string[] = [];
  const current: Snapshot | undefined = neverRead
    ? undefined
    : { asOfMs, tokensExist, tokens: new Map(tokens.map((entry) => [entry.tokenId, entry])) };
  const clock = { monotonicMs: () => nowMs };
  const subject = new Gate({ clock, tokens: { current, used: (id) => void used.push(id) }, isOpenWithoutTokens });
  const outcome = (authorization?: string): Caller | string => {
    try {
      return subject.identify(authorization);
    } catch (error) {
      if (error instanceof SignalboxError) return error.code;
      throw error;
    }
  };
  return { outcome, used };
}

const bearer = `Bearer ${token}`;

describe('the gate', () => {
  it('knows a good token, and that it was used', () => {
    const { outcome, used } = gate();
    expect(outcome(bearer)).toEqual({ tokenId, name: 'ci', scope: 'use', queuePrefix: 'ci/' });
    expect(used).toEqual([tokenId]);
  });

  it('lets nobody in before it has read the tokens, whatever else is true', () => {
    for (const isOpenWithoutTokens of [true, false]) {
      const { outcome } = gate({ neverRead: true, isOpenWithoutTokens });
      expect([outcome(), outcome(bearer)]).toEqual(['not_ready', 'not_ready']);
    }
  });

  it('lets nobody in when its knowledge is older than a minute, also if no token existed then', () => {
    const nowMs = 1000 + snapshotAgeMsMax;
    expect(gate({ nowMs }).outcome(bearer)).toMatchObject({ tokenId });
    for (const tokensExist of [true, false]) {
      const { outcome } = gate({ nowMs: nowMs + 1, tokensExist });
      expect([outcome(), outcome(bearer)]).toEqual(['database_unavailable', 'database_unavailable']);
    }
  });

  it('is open only if no token was ever made and it may be', () => {
    expect(gate({ tokensExist: false, tokens: [] }).outcome()).toMatchObject({ tokenId: undefined, scope: 'admin' });
    expect(gate({ tokensExist: false, tokens: [], isOpenWithoutTokens: false }).outcome()).toBe('unauthenticated');
    expect(gate({ tokensExist: true, tokens: [] }).outcome()).toBe('unauthenticated');
  });

  it('refuses a token from the moment it expires, on its own clock', () => {
    const tokens = [{ ...known, goodUntilMs: 1001 }];
    expect(gate({ tokens, nowMs: 1000 }).outcome(bearer)).toMatchObject({ tokenId });
    expect(gate({ tokens, nowMs: 1001 }).outcome(bearer)).toBe('unauthenticated');
  });
});

describe('the comparison', () => {
  it('is timingSafeEqual of two SHA-256 hashes, once, for a right secret, a wrong one and an unknown id', () => {
    const { outcome } = gate();
    const wrong = `Bearer ${token.slice(0, -43)}${'A'.repeat(43)}`;
    const unknown = `Bearer sbx_000000000000_${token.slice(-43)}`;
    expect([outcome(wrong), outcome(unknown)]).toEqual(['unauthenticated', 'unauthenticated']);
    expect(outcome(bearer)).toMatchObject({ tokenId });
    expect(compare).toHaveBeenCalledTimes(3);
    for (const [presented, stored] of compare.mock.calls) {
      expect((presented as Buffer).length).toBe(32);
      expect((stored as Buffer).length).toBe(32);
    }
    expect(compare.mock.calls[0]?.[1]).toBe(hash);
    expect(compare.mock.calls[1]?.[1]).not.toBe(hash);
  });

  it('decides: nothing else looks at the secret', () => {
    const { outcome } = gate();
    compare.mockReturnValueOnce(false);
    expect(outcome(bearer)).toBe('unauthenticated');
    compare.mockReturnValueOnce(true);
    expect(outcome(`Bearer ${token.slice(0, -43)}${'A'.repeat(43)}`)).toMatchObject({ tokenId });
  });

  it('never lets an unknown id in, even if the secret hashed to the decoy', () => {
    compare.mockReturnValueOnce(true);
    expect(gate().outcome(`Bearer sbx_000000000000_${token.slice(-43)}`)).toBe('unauthenticated');
  });
});

describe('a token made', () => {
  it('has 256 random bits in 43 characters, and only its hash is to be kept', () => {
    const made = Array.from({ length: 200 }, makeToken);
    expect(new Set(made.map((one) => one.token)).size).toBe(200);
    for (const one of made) {
      expect(one.token).toMatch(/^sbx_[0-9a-f]{12}_[A-Za-z0-9_-]{43}$/);
      expect(Buffer.from(one.token.slice(-43), 'base64url')).toHaveLength(32);
      expect(one.hash).toEqual(hashOf(one.token.slice(-43)));
      expect(parseBearer(`Bearer ${one.token}`)).toEqual({ tokenId: one.tokenId, secret: one.token.slice(-43) });
    }
  });
});
