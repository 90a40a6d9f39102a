import { describe, expect, it } from 'vitest';
import { decode, encodeMergeQueues, encodeMoved, encodeProbe } from '../../src/notifier/messages.ts';
import type { ReplicaId } from '../../src/protocol/ids.ts';

const from = 'replica:1:0000' as ReplicaId;
const longest = (n: number) => ({ queue: `${n}`.padEnd(200, '/'), claim_id: `${n}`.padEnd(200, '@') });

describe('moved claims', () => {
  it('travel in one payload when they fit', () => {
    const payloads = encodeMoved(from, [
      { queue: 'team/q', claim_id: 'a' },
      { queue: 'other', claim_id: 'b' },
    ]);
    expect(payloads.map(decode)).toEqual([
      {
        from,
        moved: [
          ['team/q', 'a'],
          ['other', 'b'],
        ],
      },
    ]);
  });

  it('none make no payload', () => {
    expect(encodeMoved(from, [])).toEqual([]);
  });

  it.each([1, 18, 19, 20, 500])(
    '%i of the longest names: every payload is below 8000 bytes and none is lost',
    (count) => {
      const keys = Array.from({ length: count }, (_, i) => longest(i));
      const payloads = encodeMoved('r'.repeat(120) as ReplicaId, keys);
      for (const payload of payloads) expect(Buffer.byteLength(payload)).toBeLessThan(8000);
      const arrived = payloads.map(decode).flatMap((message) => (message && 'moved' in message ? message.moved : []));
      expect(arrived).toEqual(keys.map(({ queue, claim_id }) => [queue, claim_id]));
    },
  );

  it('short ones fill a payload before the next begins', () => {
    const keys = Array.from({ length: 2000 }, (_, i) => ({ queue: 'q', claim_id: `c${i}` }));
    const sizes = encodeMoved(from, keys).map((payload) => payload.length);
    for (const size of sizes.slice(0, -1)) expect(size).toBeGreaterThan(6000);
  });
});

describe('merge queues that moved', () => {
  it.each([0, 1, 39, 500])('%i of the longest names: every payload is below 8000 bytes and none is lost', (count) => {
    const names = Array.from({ length: count }, (_, i) => longest(i).queue);
    const payloads = encodeMergeQueues('r'.repeat(120) as ReplicaId, names);
    for (const payload of payloads) expect(Buffer.byteLength(payload)).toBeLessThan(8000);
    const arrived = payloads
      .map(decode)
      .flatMap((message) => (message && 'merge_queues' in message ? message.merge_queues : []));
    expect(arrived).toEqual(names);
  });
});

describe('a payload', () => {
  it('of a probe or of a resignation is understood', () => {
    expect(decode(encodeProbe(from, 'ping'))).toEqual({ from, probe: 'ping' });
    expect(decode('{"from":"x","resigned":true}')).toEqual({ from: 'x', resigned: true });
  });

  it.each(['', 'text', '{', 'null', '1', '[]', '{}', '{"from":1,"probe":"x"}', '{"from":"x","moved":[["q"]]}'])(
    '%j of another program is no message',
    (payload) => {
      expect(decode(payload)).toBeUndefined();
    },
  );
});
