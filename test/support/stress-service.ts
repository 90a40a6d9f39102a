import { setTimeout as sleep } from 'node:timers/promises';
import type { Service } from '../../src/runtime/service.ts';

/** Ten at a time, fifty starts and stops each, stopped before it starts and twice at the end. It must be stopped then. */
export async function stressService(service: Service): Promise<void> {
  await service.stop();
  await Promise.all(
    Array.from({ length: 10 }, async () => {
      for (let round = 0; round < 50; round++) {
        await service.start();
        // Not always stopped in the middle of starting.
        await sleep(round % 5);
        await service.stop();
      }
    }),
  );
  await service.start();
  await service.start();
  await Promise.all([service.stop(), service.stop()]);
  await service.stop();
}
