import { describe, expect, it } from 'vitest';
import { TakerRoom } from '../../src/notifier/taker-room.ts';

const patient = { timeoutMs: 60_000, signal: new AbortController().signal };
const noTime = { ...patient, timeoutMs: 0 };

describe('a worker that waits', () => {
  it('is called for its queue and no other', async () => {
    const room = new TakerRoom();
    using seat = room.enter({ queue: 'mail/a' });
    const waits = seat.wait(patient);
    expect(room.call('mail/ab')).toBe(false);
    expect(room.call('mail/')).toBe(false);
    expect(room.call('mail/a')).toBe(true);
    expect(await waits).toBe(true);
  });

  it('is called for every queue that begins with its prefix', async () => {
    const room = new TakerRoom();
    using seat = room.enter({ prefix: 'mail/' });
    expect(room.call('post/a')).toBe(false);
    expect(room.call('mail/')).toBe(true);
    expect(await seat.wait(patient)).toBe(true);
    expect(room.call('mail/z')).toBe(true);
    expect(await seat.wait(patient)).toBe(true);
  });

  it('a call that came between entering and waiting counts, once', async () => {
    const room = new TakerRoom();
    using seat = room.enter({ queue: 'q' });
    room.call('q');
    expect(await seat.wait(noTime)).toBe(true);
    expect(await seat.wait(noTime)).toBe(false);
  });

  it('one run calls one worker, the one that has waited longest', async () => {
    const room = new TakerRoom();
    using first = room.enter({ prefix: '' });
    using second = room.enter({ queue: 'q' });
    expect(room.call('q')).toBe(true);
    expect(await first.wait(noTime)).toBe(true);
    expect(await second.wait(noTime)).toBe(false);
  });

  it('the next run calls the next one, also before the first has come', async () => {
    const room = new TakerRoom();
    using first = room.enter({ queue: 'q' });
    using second = room.enter({ queue: 'q' });
    expect([room.call('q'), room.call('q'), room.call('q')]).toEqual([true, true, false]);
    expect(await Promise.all([first.wait(patient), second.wait(patient)])).toEqual([true, true]);
  });

  it('that leaves after it was called passes the call on to another of its kind', async () => {
    const room = new TakerRoom();
    const first = room.enter({ queue: 'q' });
    using second = room.enter({ queue: 'q' });
    using other = room.enter({ queue: 'other' });
    room.call('q');
    first[Symbol.dispose]();
    expect(await second.wait(noTime)).toBe(true);
    expect(await other.wait(noTime)).toBe(false);
  });

  it('passes the call on to whoever could take from that queue, whatever it waits for', async () => {
    const room = new TakerRoom();
    const first = room.enter({ prefix: 'a/' });
    using second = room.enter({ prefix: '' });
    room.call('a/q');
    first[Symbol.dispose]();
    expect(await second.wait(noTime)).toBe(true);
  });

  it('whose client hung up passes the call on too', async () => {
    const room = new TakerRoom();
    const first = room.enter({ queue: 'q' });
    using second = room.enter({ queue: 'q' });
    room.call('q');
    expect(await first.wait({ ...patient, signal: AbortSignal.abort() })).toBe(false);
    first[Symbol.dispose]();
    expect(await second.wait(noTime)).toBe(true);
  });

  it.each([
    ['its time is over', { ...patient, timeoutMs: 5 }],
    ['there is no time', noTime],
    ['its client had hung up', { ...patient, signal: AbortSignal.abort() }],
    ['its client hangs up', { ...patient, signal: AbortSignal.timeout(5) }],
  ])('is not called when %s', async (_when, options) => {
    using seat = new TakerRoom().enter({ queue: 'q' });
    expect(await seat.wait(options)).toBe(false);
  });
});

describe('the room', () => {
  it('calls all who wait for one source, and tells what is waited for, each once', async () => {
    const room = new TakerRoom();
    using one = room.enter({ prefix: 'a' });
    using two = room.enter({ prefix: 'a' });
    using three = room.enter({ queue: 'a' });
    expect(room.sources()).toEqual([{ prefix: 'a' }, { queue: 'a' }]);
    expect(room.size).toBe(3);
    room.callAll({ prefix: 'a' });
    expect(await Promise.all([one.wait(noTime), two.wait(noTime), three.wait(noTime)])).toEqual([true, true, false]);
  });

  it('ends every wait when it closes, now and from now on', async () => {
    const room = new TakerRoom();
    using seat = room.enter({ queue: 'q' });
    const waits = seat.wait(patient);
    room.close();
    expect(await waits).toBe(false);
    expect(await seat.wait(patient)).toBe(false);
  });

  it('is empty when all have left', () => {
    const room = new TakerRoom();
    const seat = room.enter({ queue: 'q' });
    seat[Symbol.dispose]();
    seat[Symbol.dispose]();
    expect([room.size, room.sources(), room.call('q')]).toEqual([0, [], false]);
  });
});
