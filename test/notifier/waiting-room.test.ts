import { describe, expect, it } from 'vitest';
import { type Arrival, WaitingRoom } from '../../src/notifier/waiting-room.ts';

const key = { queue: 'q', claim_id: 'c' };
const newsOf = (claimId: string | null, code = 'held'): Arrival => ({
  decision: { item: null, code, queue: 'q', claim_id: claimId, body: {} },
  sentAtMs: 1,
});
const patient = { timeoutMs: 60_000, signal: new AbortController().signal };

describe('a seat', () => {
  it('gets the news of its claim and of no other', async () => {
    const room = new WaitingRoom();
    using seat = room.enter(key);
    const waits = seat.wait(patient);
    expect(room.deliver(newsOf('another'))).toBe(false);
    expect(room.deliver({ ...newsOf('c'), decision: { ...newsOf('c').decision, queue: 'another' } })).toBe(false);
    expect(room.deliver(newsOf(null))).toBe(false);
    const news = newsOf('c');
    expect(room.deliver(news)).toBe(true);
    expect(await waits).toBe(news);
  });

  it('keeps news that came between entering and waiting', async () => {
    const room = new WaitingRoom();
    using seat = room.enter(key);
    const news = newsOf('c');
    room.deliver(news);
    expect(await seat.wait(patient)).toBe(news);
    expect(await seat.wait({ timeoutMs: 0, signal: AbortSignal.abort() })).toBe(news);
  });

  it('every client of one claim is told', async () => {
    const room = new WaitingRoom();
    using one = room.enter(key);
    using other = room.enter(key);
    const both = [one.wait(patient), other.wait(patient)];
    const news = newsOf('c');
    room.deliver(news);
    expect(await Promise.all(both)).toEqual([news, news]);
  });

  it.each([
    ['its time is over', { ...patient, timeoutMs: 5 }],
    ['there is no time', { ...patient, timeoutMs: 0 }],
    ['its client had hung up', { ...patient, signal: AbortSignal.abort() }],
    ['its client hangs up', { ...patient, signal: AbortSignal.timeout(5) }],
  ])('gets nothing when %s', async (_when, options) => {
    const room = new WaitingRoom();
    using seat = room.enter(key);
    expect(await seat.wait(options)).toBeUndefined();
  });

  it('leaves no listener behind on the signal of its client', async () => {
    const room = new WaitingRoom();
    const { signal } = new AbortController();
    const removed: string[] = [];
    const original = signal.removeEventListener.bind(signal);
    signal.removeEventListener = (...args: Parameters<typeof original>) => {
      removed.push(args[0]);
      original(...args);
    };
    using seat = room.enter(key);
    const waits = seat.wait({ timeoutMs: 60_000, signal });
    room.deliver(newsOf('c'));
    await waits;
    expect(removed).toEqual(['abort']);
  });
});

describe('the room', () => {
  it('counts clients and names claims, and a client that left is told nothing', () => {
    const room = new WaitingRoom();
    const [one, other] = [room.enter(key), room.enter(key)];
    room.enter({ queue: 'team/q', claim_id: 'a:b' });
    expect(room.size).toBe(3);
    expect(room.keys()).toEqual([key, { queue: 'team/q', claim_id: 'a:b' }]);
    one.leave();
    one.leave();
    expect([room.size, room.has(key)]).toEqual([2, true]);
    other.leave();
    expect([room.size, room.has(key)]).toEqual([1, false]);
    expect(room.deliver(newsOf('c'))).toBe(false);
  });

  it('a client that leaves late does not take the seat of one that came after', () => {
    const room = new WaitingRoom();
    const first = room.enter(key);
    first.leave();
    room.enter(key);
    first.leave();
    expect(room.has(key)).toBe(true);
  });

  it('closing ends every wait, now and from now on', async () => {
    const room = new WaitingRoom();
    using seat = room.enter(key);
    const waits = seat.wait(patient);
    room.close();
    expect(await waits).toBeUndefined();
    using late = room.enter(key);
    expect(await late.wait(patient)).toBeUndefined();
  });
});
