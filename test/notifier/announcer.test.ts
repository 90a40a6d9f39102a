import { describe, expect, it } from 'vitest';
import { Announcer } from '../../src/notifier/announcer.ts';
import { decode } from '../../src/notifier/messages.ts';
import type { ReplicaId } from '../../src/protocol/ids.ts';
import type { Database } from '../../src/store/database.ts';
import { until } from '../support/until.ts';

/** An announcer and the claims of each NOTIFY it sent; `failing` rounds fail, counted from 0. */
function recordedAnnouncer({ failing = [] as readonly number[], gatherMs = 1 } = {}) {
  const sent: string[][] = [];
  const errors: unknown[] = [];
  let round = 0;
  const db = {
    query: async (_lane: string, { parameters }: { parameters: readonly [string, readonly string[]] }) => {
      if (failing.includes(round++)) throw new Error('down');
      sent.push(
        parameters[1].flatMap((payload) => {
          const message = decode(payload);
          if (message === undefined) return [];
          if ('merge_queues' in message) return message.merge_queues;
          return 'moved' in message ? message.moved.map(([, claimId]) => claimId) : [];
        }),
      );
      return [];
    },
  } as unknown as Database;
  const announcer = new Announcer({
    db,
    replicaId: 'r:1:0' as ReplicaId,
    gatherMs,
    onError: (error) => errors.push(error),
  });
  const announce = (...claimIds: string[]) =>
    announcer.announceMoved(claimIds.map((claim_id) => ({ queue: 'q', claim_id })));
  return { announcer, announce, sent, errors };
}

describe('an announcement', () => {
  it('is gathered with those that come meanwhile, each claim once', async () => {
    const { announcer, announce, sent } = recordedAnnouncer({ gatherMs: 20 });
    announce('a');
    for (let i = 0; i < 50; i++) announce('b', 'c', 'b');
    await announcer.stop();
    expect(sent.length).toBeLessThanOrEqual(2);
    expect(new Set(sent.flat())).toEqual(new Set(['a', 'b', 'c']));
    expect(sent.flat()).toHaveLength(3);
  });

  it('names each merge queue once, however often it moved, beside the claims', async () => {
    const { announcer, announce, sent } = recordedAnnouncer({ gatherMs: 20 });
    announce('a');
    for (let i = 0; i < 50; i++) for (const queue of ['merge-queue/o/r/main', 'x']) announcer.announceMergeQueue(queue);
    announce('b');
    await announcer.stop();
    announcer.announceMergeQueue('late');
    expect(sent.length).toBeLessThanOrEqual(2);
    expect(sent.flat().toSorted()).toEqual(['a', 'b', 'merge-queue/o/r/main', 'x']);
  });

  it('of nothing sends nothing', async () => {
    const { announcer, announce, sent } = recordedAnnouncer();
    announce();
    await announcer.stop();
    expect(sent).toEqual([]);
  });

  it('after a pause is sent anew', async () => {
    const { announcer, announce, sent } = recordedAnnouncer();
    for (const [index, claimId] of ['a', 'b', 'c'].entries()) {
      announce(claimId);
      await until(() => sent.length > index, { what: 'it is sent' });
      // The same claim may move again.
      announce('a');
    }
    await announcer.stop();
    expect(sent.flat()).toEqual(expect.arrayContaining(['a', 'b', 'c']));
  });

  it('that fails is told, and the next one goes out', async () => {
    const { announcer, announce, sent, errors } = recordedAnnouncer({ failing: [0] });
    announce('a');
    await until(() => errors.length === 1, { what: 'the failure is told' });
    announce('b');
    await announcer.stop();
    expect(sent).toEqual([['b']]);
  });

  it('before the stop is sent, after it is not taken', async () => {
    const { announcer, announce, sent } = recordedAnnouncer({ gatherMs: 50 });
    announce('a');
    const stopped = announcer.stop();
    announce('late');
    await stopped;
    expect(sent).toEqual([['a']]);
  });
});
