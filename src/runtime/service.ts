/**
 * One life cycle for everything that runs in the background.
 *
 * - `start()` resolves when the service is running; a second start is a no-op; a start that fails leaves nothing running.
 * - `stop()` resolves when it has fully stopped; it may be called twice, before `start()`, or while starting.
 * - `await using` calls `stop()`.
 */
export interface Service extends AsyncDisposable {
  readonly name: string;
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** Starts the services in order. If one fails, those already started are stopped in reverse and the error is thrown. */
export async function startAll(services: readonly Service[]): Promise<void> {
  const started: Service[] = [];
  for (const service of services) {
    try {
      await service.start();
      started.push(service);
    } catch (error) {
      await stopAll(started);
      throw error;
    }
  }
}

/** Stops the services in reverse order. Every one is stopped even if another fails; the first failure is thrown at the end. */
export async function stopAll(services: readonly Service[]): Promise<void> {
  const failures: unknown[] = [];
  for (const service of services.toReversed()) {
    try {
      await service.stop();
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
}

/** Services that start in order and stop at the same time, as one. */
export function together(...services: readonly Service[]): Service {
  const stop = async () => {
    const outcomes = await Promise.allSettled(services.map((service) => service.stop()));
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
  };
  return {
    name: services.map(({ name }) => name).join('+'),
    start: () => startAll(services),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}
