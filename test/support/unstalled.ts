import { monitorEventLoopDelay } from 'node:perf_hooks';
import { test } from 'vitest';

/** A loop that was kept waiting for longer than this has missed windows of tens of milliseconds by itself. */
const stallMs = 60;

/**
 * A test of windows of tens of milliseconds. Where it fails and this process was meanwhile kept from running (another one had the
 * processor), it has shown nothing, and is tried again, four times at most. Where the process ran all along, it fails at once.
 * The body is run again from its beginning: what it opens it must close itself (`await using`).
 */
export function testUnstalled(name: string, body: () => Promise<void>): void {
  test(name, { timeout: 60_000 }, async () => {
    for (let attempt = 1; ; attempt++) {
      const delays = monitorEventLoopDelay({ resolution: 5 });
      delays.enable();
      try {
        await body();
        return;
      } catch (error) {
        if (attempt === 4 || delays.max < stallMs * 1e6) throw error;
      } finally {
        delays.disable();
      }
    }
  });
}
