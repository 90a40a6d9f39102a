import type { Intercept } from './service.ts';

export interface Gate {
  readonly intercept: Intercept;
  /** From now on a statement that names `what` stops before it is sent, once; resolves when one stands there. */
  stopBefore(what: string): Promise<void>;
  /** As `stopBefore`, but the statement has been carried out and its answer is kept back. */
  stopAfter(what: string): Promise<void>;
  open(): void;
  /** The next statement that names `what` fails: before it is sent, or after it was carried out. */
  fail(what: string, when: 'before' | 'after'): void;
  /** Statements that were sent, by the function they name. */
  count(what: string): number;
}

interface Trap {
  readonly what: string;
  readonly when: 'before' | 'after';
  readonly spring: () => Promise<void>;
}

/** Stands between a replica and its database, to force the order of a race. */
export function aGate(): Gate {
  const traps: Trap[] = [];
  const sent: string[] = [];
  let opened = Promise.withResolvers<undefined>();
  const springs = async (sql: string, when: Trap['when']) => {
    const index = traps.findIndex((trap) => trap.when === when && sql.includes(trap.what));
    const [trap] = index === -1 ? [] : traps.splice(index, 1);
    await trap?.spring();
  };
  const stop = (what: string, when: Trap['when']) => {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    opened = Promise.withResolvers();
    const { promise: until } = opened;
    traps.push({
      what,
      when,
      spring: async () => {
        resolve(undefined);
        await until;
      },
    });
    return promise;
  };
  return {
    intercept: async ({ sql }, run) => {
      await springs(sql, 'before');
      sent.push(sql);
      const rows = await run();
      await springs(sql, 'after');
      return rows;
    },
    stopBefore: (what) => stop(what, 'before'),
    stopAfter: (what) => stop(what, 'after'),
    open: () => opened.resolve(undefined),
    fail: (what, when) => traps.push({ what, when, spring: () => Promise.reject(new Error(`cut ${when} ${what}`)) }),
    count: (what) => sent.filter((sql) => sql.includes(what)).length,
  };
}
