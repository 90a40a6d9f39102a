import { describe, expect, it } from 'vitest';
import { type Service, startAll, stopAll } from '../../src/runtime/service.ts';

/** Services by name that write down what is done to them; `failing` names what throws, e.g. `start b`. */
function recorded(names: string, failing: readonly string[] = []) {
  const log: string[] = [];
  const act = async (what: string) => {
    log.push(what);
    if (failing.includes(what)) throw new Error(what);
  };
  const services = Array.from(names).map((name): Service => ({
    name,
    start: () => act(`start ${name}`),
    stop: () => act(`stop ${name}`),
    [Symbol.asyncDispose]: () => act(`stop ${name}`),
  }));
  return { services, log };
}

describe('startAll', () => {
  it('starts in order', async () => {
    const { services, log } = recorded('abc');
    await startAll(services);
    expect(log).toEqual(['start a', 'start b', 'start c']);
  });

  it('undoes what was started when one fails, in reverse, and throws that failure', async () => {
    const { services, log } = recorded('abcd', ['start c']);
    await expect(startAll(services)).rejects.toThrow('start c');
    expect(log).toEqual(['start a', 'start b', 'start c', 'stop b', 'stop a']);
  });
});

describe('stopAll', () => {
  it('stops in reverse', async () => {
    const { services, log } = recorded('abc');
    await stopAll(services);
    expect(log).toEqual(['stop c', 'stop b', 'stop a']);
  });

  it('goes on when one fails, and throws the first failure at the end', async () => {
    const { services, log } = recorded('abcd', ['stop c', 'stop a']);
    await expect(stopAll(services)).rejects.toThrow('stop c');
    expect(log).toEqual(['stop d', 'stop c', 'stop b', 'stop a']);
  });
});
