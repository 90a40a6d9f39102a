/** Counts the jobs a handler was given. */
export interface Tally {
  count(jobs: number): void;
  /** Resolves when `count` has been told of all of them; rejects after two minutes. */
  all(): Promise<void>;
}

const drainMsMax = 120_000;

export function startTally(jobs: number): Tally {
  const { promise, resolve, reject } = Promise.withResolvers<undefined>();
  let counted = 0;
  const tooLate = () => reject(new Error(`${counted} of ${jobs} jobs were handled within ${drainMsMax} ms`));
  return {
    count: (more) => {
      counted += more;
      if (counted >= jobs) resolve(undefined);
    },
    all: async () => {
      const timer = setTimeout(tooLate, drainMsMax);
      await promise.finally(() => clearTimeout(timer));
    },
  };
}

/** Asks again and again until nothing remains: the last completion is committed some ms after the last handler ended. */
export async function untilNoneRemains(remains: () => Promise<boolean>): Promise<void> {
  const endsAtMs = performance.now() + drainMsMax;
  while (await remains())
    if (performance.now() > endsAtMs) throw new Error(`jobs remain ${drainMsMax} ms after the last was handled`);
}
